// list-image prints what the layers of an image in an OCI layout hold, as one of several libraries reads them: one JSON
// object for each name, with the digest of what was read. Whatever a library checks on the way is checked.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"glowplug/garden/peers/roundtrip/listing"
)

// source is one layer of an image.
type source struct {
	blob       string
	descriptor ocispec.Descriptor
	diffID     digest.Digest
	// An empty folder for whoever unpacks.
	scratch string
}

// reader reads a layer into a listing.
type reader func(from source, into *listing.Layer) error

var readers = map[string]reader{"tar": readTar, "stargz": readStargz, "storage": readStorage}

func main() {
	log.SetFlags(0)
	scratch := flag.String("scratch", "", "folder that is not there yet, for the reader that unpacks")
	flag.Parse()
	read := readers[flag.Arg(0)]
	if flag.NArg() != 2 || read == nil {
		log.Fatal("usage: list-image [-scratch FOLDER] tar|stargz|storage LAYOUT")
	}
	layers, err := sources(flag.Arg(1), *scratch)
	if err != nil {
		log.Fatal(err)
	}
	out := bufio.NewWriter(os.Stdout)
	for number, layer := range layers {
		listed := listing.NewLayer(number)
		if err := read(layer, listed); err != nil {
			log.Fatalf("layer %d: %v", number, err)
		}
		if err := listed.Print(out); err != nil {
			log.Fatal(err)
		}
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}

// sources are the layers of the first image in a layout.
func sources(layout, scratch string) ([]source, error) {
	var index ocispec.Index
	if err := parse(filepath.Join(layout, ocispec.ImageIndexFile), &index); err != nil {
		return nil, err
	}
	blob := func(of ocispec.Descriptor) string {
		return filepath.Join(layout, ocispec.ImageBlobsDir, of.Digest.Algorithm().String(), of.Digest.Encoded())
	}
	for {
		if len(index.Manifests) == 0 {
			return nil, fmt.Errorf("%s holds no image", layout)
		}
		first := index.Manifests[0]
		if first.MediaType != ocispec.MediaTypeImageIndex {
			return sourcesOf(first, blob, scratch)
		}
		index = ocispec.Index{}
		if err := parse(blob(first), &index); err != nil {
			return nil, err
		}
	}
}

func sourcesOf(image ocispec.Descriptor, blob func(ocispec.Descriptor) string, scratch string) ([]source, error) {
	var manifest ocispec.Manifest
	if err := parse(blob(image), &manifest); err != nil {
		return nil, err
	}
	var config ocispec.Image
	if err := parse(blob(manifest.Config), &config); err != nil {
		return nil, err
	}
	if len(config.RootFS.DiffIDs) != len(manifest.Layers) {
		return nil, fmt.Errorf("%d layers with %d digests", len(manifest.Layers), len(config.RootFS.DiffIDs))
	}
	var all []source
	for number, layer := range manifest.Layers {
		all = append(all, source{
			blob: blob(layer), descriptor: layer, diffID: config.RootFS.DiffIDs[number],
			scratch: filepath.Join(scratch, fmt.Sprint(number)),
		})
	}
	return all, nil
}

func parse(file string, into any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
