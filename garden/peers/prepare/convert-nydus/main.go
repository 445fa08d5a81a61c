// convert-nydus makes a Nydus image (RAFS v6) of an OCI layout, as nydusify does it, by the same library.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"strings"

	images "github.com/containerd/containerd/v2/core/images/converter"
	"github.com/containerd/nydus-snapshotter/pkg/converter"
	"github.com/containerd/platforms"

	"glowplug/garden/peers/prepare/layout"
)

func main() {
	log.SetFlags(0)
	builder := flag.String("builder", "nydus-image", "the program nydus-image")
	prefetch := flag.String("prefetch", "", "file with the paths that are fetched first, in this order")
	flag.Parse()
	if flag.NArg() != 2 {
		log.Fatal("usage: convert-nydus [-builder FILE] [-prefetch FILE] FROM TO")
	}
	paths, err := layout.Paths(*prefetch)
	if err != nil {
		log.Fatal(err)
	}
	for n, path := range paths {
		paths[n] = "/" + path
	}
	// Beside the result, where there is room for a layer.
	work := flag.Arg(1) + ".work"
	if err := os.MkdirAll(work, 0o755); err != nil {
		log.Fatal(err)
	}
	patterns := strings.Join(paths, "\n")
	convert := images.IndexConvertFuncWithHook(
		converter.LayerConvertFunc(converter.PackOption{
			WorkDir: work, BuilderPath: *builder, FsVersion: "6", PrefetchPatterns: patterns,
		}),
		true,
		platforms.All,
		images.ConvertHooks{PostConvertHook: converter.ConvertHookFunc(converter.MergeOption{
			WorkDir: work, BuilderPath: *builder, FsVersion: "6", PrefetchPatterns: patterns, OCI: true,
		})},
	)
	err = layout.Convert(context.Background(), flag.Arg(0), flag.Arg(1), convert)
	if left := os.RemoveAll(work); err == nil {
		err = left
	}
	if err != nil {
		log.Fatal(err)
	}
}
