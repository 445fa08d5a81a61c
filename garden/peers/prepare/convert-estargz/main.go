// convert-estargz makes an eStargz image of an OCI layout: as `ctr-remote image optimize` does it, by the same library.
package main

import (
	"context"
	"flag"
	"log"

	"github.com/containerd/containerd/v2/core/images/converter"
	"github.com/containerd/platforms"
	"github.com/containerd/stargz-snapshotter/estargz"
	native "github.com/containerd/stargz-snapshotter/nativeconverter/estargz"

	"glowplug/garden/peers/prepare/layout"
)

func main() {
	log.SetFlags(0)
	prioritized := flag.String("prioritized", "", "file with the paths that come first in their layers, in this order")
	flag.Parse()
	if flag.NArg() != 2 {
		log.Fatal("usage: convert-estargz [-prioritized FILE] FROM TO")
	}
	paths, err := layout.Paths(*prioritized)
	if err != nil {
		log.Fatal(err)
	}
	var options []estargz.Option
	if len(paths) > 0 {
		// Each layer gets the whole list, and most of it lies in other layers.
		var elsewhere []string
		options = append(options, estargz.WithPrioritizedFiles(paths), estargz.WithAllowPrioritizeNotFound(&elsewhere))
	}
	convert := converter.DefaultIndexConvertFunc(native.LayerConvertFunc(options...), true, platforms.All)
	if err := layout.Convert(context.Background(), flag.Arg(0), flag.Arg(1), convert); err != nil {
		log.Fatal(err)
	}
}
