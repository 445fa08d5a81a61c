// A stargz snapshotter daemon over the published library of github.com/containerd/stargz-snapshotter: its command
// module is not on the Go module proxy. What the command adds beside this (keychains, the fuse manager, metrics) is off
// by default there too.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"

	snapshots "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/stargz-snapshotter/fs"
	"github.com/containerd/stargz-snapshotter/metadata/memory"
	"github.com/containerd/stargz-snapshotter/service"
	"github.com/pelletier/go-toml"
	"google.golang.org/grpc"
)

func main() {
	address := flag.String("address", "", "socket to listen on")
	root := flag.String("root", "", "folder for everything")
	settings := flag.String("config", "", "containerd-stargz-grpc's configuration file")
	flag.Parse()
	if err := serve(*address, *root, *settings); err != nil {
		log.Fatal(err)
	}
}

func serve(address, root, settings string) error {
	var config service.Config
	text, err := toml.LoadFile(settings)
	if err != nil {
		return err
	}
	if err := text.Unmarshal(&config); err != nil {
		return err
	}
	if err := service.Supported(root); err != nil {
		return err
	}
	snapshotter, err := service.NewStargzSnapshotterService(context.Background(), root, &config,
		service.WithFilesystemOptions(fs.WithMetadataStore(memory.NewReader)))
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	snapshots.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	listener, err := net.Listen("unix", address)
	if err != nil {
		return err
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-ended
		server.Stop()
	}()
	if err := server.Serve(listener); err != nil {
		return err
	}
	return snapshotter.Close()
}
