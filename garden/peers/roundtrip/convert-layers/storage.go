package main

import (
	"compress/gzip"
	"context"
	"io"
	"maps"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/converter"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containers/storage/pkg/chunked/compressor"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// storageLayer makes zstd:chunked of a gzip layer, as podman and CRI-O push it.
func storageLayer(level int) converter.ConvertFunc {
	return func(ctx context.Context, store content.Store, from ocispec.Descriptor) (*ocispec.Descriptor, error) {
		if !images.IsLayerType(from.MediaType) {
			return nil, nil
		}
		blob, err := store.ReaderAt(ctx, from)
		if err != nil {
			return nil, err
		}
		defer blob.Close()
		tar, err := gzip.NewReader(content.NewReader(blob))
		if err != nil {
			return nil, err
		}
		into, err := content.OpenWriter(ctx, store, content.WithRef("zstd-chunked-"+from.Digest.String()))
		if err != nil {
			return nil, err
		}
		defer into.Close()
		annotations, counted := map[string]string{}, &counter{to: into}
		var wanted *int
		if level != 0 {
			wanted = &level
		}
		compressed, err := compressor.ZstdCompressor(counted, annotations, wanted)
		if err != nil {
			return nil, err
		}
		plain := digest.Canonical.Digester()
		if _, err := io.Copy(compressed, io.TeeReader(tar, plain.Hash())); err != nil {
			return nil, err
		}
		if err := compressed.Close(); err != nil {
			return nil, err
		}
		labelled := content.WithLabels(map[string]string{labels.LabelUncompressed: plain.Digest().String()})
		if err := into.Commit(ctx, counted.bytes, "", labelled); err != nil {
			return nil, err
		}
		to := from
		to.MediaType, to.Digest, to.Size = ocispec.MediaTypeImageLayerZstd, into.Digest(), counted.bytes
		to.Annotations = map[string]string{}
		maps.Copy(to.Annotations, from.Annotations)
		maps.Copy(to.Annotations, annotations)
		return &to, nil
	}
}

// counter counts what goes through it.
type counter struct {
	to    io.Writer
	bytes int64
}

func (c *counter) Write(bytes []byte) (int, error) {
	n, err := c.to.Write(bytes)
	c.bytes += int64(n)
	return n, err
}
