// Package layout converts an image that lies as an OCI layout folder into another that does.
//
// containerd's content store names its blobs as an OCI layout does, so the folder itself is the store that the peers'
// converters work in. The blobs of the original are hard links: source and result lie on one file system.
package layout

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/converter"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Convert gives the image in the folder from to convert and leaves what comes out in the folder to, which must not
// hold anything yet. Blobs that belong to the original alone are left out.
func Convert(ctx context.Context, from, to string, convert converter.ConvertFunc) error {
	index, err := read(from)
	if err != nil {
		return err
	}
	if err := link(filepath.Join(from, "blobs/sha256"), filepath.Join(to, "blobs/sha256")); err != nil {
		return err
	}
	store, err := local.NewLabeledStore(to, &labels{of: map[digest.Digest]map[string]string{}})
	if err != nil {
		return err
	}
	converted, err := convert(ctx, store, index.Manifests[0])
	if err != nil {
		return err
	}
	if converted == nil {
		return fmt.Errorf("%s: nothing to convert", from)
	}
	if err := prune(ctx, store, to, *converted); err != nil {
		return err
	}
	index.Manifests = []ocispec.Descriptor{*converted}
	text, err := json.Marshal(index)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(to, ocispec.ImageIndexFile), text, 0o644); err != nil {
		return err
	}
	version, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, ocispec.ImageLayoutFile), version, 0o644)
}

func read(folder string) (ocispec.Index, error) {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	text, err := os.ReadFile(filepath.Join(folder, ocispec.ImageIndexFile))
	if err != nil {
		return index, err
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return index, err
	}
	if len(index.Manifests) != 1 {
		return index, fmt.Errorf("%s holds %d images, not one", folder, len(index.Manifests))
	}
	return index, nil
}

func link(from, to string) error {
	blobs, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, blob := range blobs {
		if err := os.Link(filepath.Join(from, blob.Name()), filepath.Join(to, blob.Name())); err != nil {
			return err
		}
	}
	return nil
}

// prune removes the blobs that root does not lead to, and what the store needed while it was written to.
func prune(ctx context.Context, store content.Store, folder string, root ocispec.Descriptor) error {
	kept := map[string]bool{}
	keep := images.HandlerFunc(func(_ context.Context, blob ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		kept[blob.Digest.Encoded()] = true
		return nil, nil
	})
	if err := images.Walk(ctx, images.Handlers(keep, images.ChildrenHandler(store)), root); err != nil {
		return err
	}
	blobs := filepath.Join(folder, "blobs/sha256")
	entries, err := os.ReadDir(blobs)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !kept[entry.Name()] {
			if err := os.Remove(filepath.Join(blobs, entry.Name())); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(filepath.Join(folder, "ingest"))
}

// labels keeps what the converters note about blobs, for as long as the program runs.
type labels struct {
	sync.Mutex
	of map[digest.Digest]map[string]string
}

func (l *labels) Get(blob digest.Digest) (map[string]string, error) {
	l.Lock()
	defer l.Unlock()
	copied := map[string]string{}
	for key, value := range l.of[blob] {
		copied[key] = value
	}
	return copied, nil
}

func (l *labels) Set(blob digest.Digest, all map[string]string) error {
	l.Lock()
	defer l.Unlock()
	l.of[blob] = all
	return nil
}

func (l *labels) Update(blob digest.Digest, changed map[string]string) (map[string]string, error) {
	l.Lock()
	defer l.Unlock()
	merged := map[string]string{}
	for key, value := range l.of[blob] {
		merged[key] = value
	}
	for key, value := range changed {
		if value == "" {
			delete(merged, key)
		} else {
			merged[key] = value
		}
	}
	l.of[blob] = merged
	return merged, nil
}
