// convert-layers makes an image of an OCI layout over by the libraries of those who read it: eStargz and one dialect of
// zstd:chunked by stargz-snapshotter's, the other dialect by podman's and CRI-O's.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"

	"github.com/containerd/containerd/v2/core/images/converter"
	"github.com/containerd/platforms"
	"github.com/containerd/stargz-snapshotter/estargz"
	stargz "github.com/containerd/stargz-snapshotter/nativeconverter/estargz"
	"github.com/containerd/stargz-snapshotter/nativeconverter/zstdchunked"
	"github.com/klauspost/compress/zstd"

	"glowplug/garden/peers/prepare/layout"
)

func main() {
	log.SetFlags(0)
	to := flag.String("to", "", "estargz, zstd-chunked-stargz or zstd-chunked-storage")
	level := flag.Int("level", 0, "how hard to compress, as gzip and zstd count it; by default as the library has it")
	prioritized := flag.String("prioritized", "", "for estargz: file with the paths that come first in their layers")
	flag.Parse()
	if flag.NArg() != 2 {
		log.Fatal("usage: convert-layers -to FORMAT [-level N] [-prioritized FILE] FROM TO")
	}
	layer, err := converterOf(*to, *level, *prioritized)
	if err != nil {
		log.Fatal(err)
	}
	convert := converter.DefaultIndexConvertFunc(layer, true, platforms.All)
	if err := layout.Convert(context.Background(), flag.Arg(0), flag.Arg(1), convert); err != nil {
		log.Fatal(err)
	}
}

func converterOf(format string, level int, prioritized string) (converter.ConvertFunc, error) {
	switch format {
	case "estargz":
		paths, err := layout.Paths(prioritized)
		if err != nil {
			return nil, err
		}
		var options []estargz.Option
		if level != 0 {
			options = append(options, estargz.WithCompressionLevel(level))
		}
		if len(paths) > 0 {
			// Each layer gets the whole list, and most of it lies in other layers.
			var elsewhere []string
			options = append(options, estargz.WithPrioritizedFiles(paths), estargz.WithAllowPrioritizeNotFound(&elsewhere))
		}
		return stargz.LayerConvertFunc(options...), nil
	case "zstd-chunked-stargz":
		if level == 0 {
			return zstdchunked.LayerConvertFunc(), nil
		}
		return zstdchunked.LayerConvertFuncWithCompressionLevel(zstd.EncoderLevelFromZstd(level)), nil
	case "zstd-chunked-storage":
		return storageLayer(level), nil
	default:
		return nil, fmt.Errorf("no format `%s`", format)
	}
}
