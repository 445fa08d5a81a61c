package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"glowplug/garden/peers/roundtrip/listing"
)

// What PAX records of extended attributes begin with.
const xattrPrefix = "SCHILY.xattr."

var tarTypes = map[byte]string{
	tar.TypeReg: listing.File, tar.TypeDir: listing.Directory, tar.TypeSymlink: listing.Symlink,
	tar.TypeChar: listing.Char, tar.TypeBlock: listing.Block, tar.TypeFifo: listing.Fifo,
}

// Files that eStargz puts into the archive for itself.
var stargzOwn = map[string]bool{
	estargz.TOCTarName: true, estargz.PrefetchLandmark: true, estargz.NoPrefetchLandmark: true,
}

// readTar reads the layer from its begin to its end, as everybody does who knows nothing of tables.
func readTar(from source, into *listing.Layer) error {
	file, err := os.Open(from.blob)
	if err != nil {
		return err
	}
	defer file.Close()
	blob := digest.Canonical.Digester()
	stream, err := decompressed(io.TeeReader(file, blob.Hash()), from.descriptor.MediaType)
	if err != nil {
		return err
	}
	defer stream.Close()
	whole := digest.Canonical.Digester()
	plain := io.TeeReader(stream, whole.Hash())
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := addTar(header, archive, into); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return err
	}
	// What follows the last frame or member belongs to the blob all the same.
	if _, err := io.Copy(blob.Hash(), file); err != nil {
		return err
	}
	if whole.Digest() != from.diffID {
		return fmt.Errorf("the archive is %s, not %s", whole.Digest(), from.diffID)
	}
	if blob.Digest() != from.descriptor.Digest {
		return fmt.Errorf("the blob is %s, not %s", blob.Digest(), from.descriptor.Digest)
	}
	return nil
}

func addTar(header *tar.Header, content io.Reader, into *listing.Layer) error {
	name := listing.Clean(header.Name)
	if name == "" || stargzOwn[name] {
		return nil
	}
	if header.Typeflag == tar.TypeLink {
		return into.Link(name, listing.Clean(header.Linkname))
	}
	kind, ok := tarTypes[header.Typeflag]
	if !ok {
		return fmt.Errorf("%s is of the unknown type %q", name, header.Typeflag)
	}
	entry := listing.Entry{
		Path: name, Type: kind, Mode: listing.Mode(header.Mode), UID: header.Uid, GID: header.Gid,
		Modified: listing.Modified(header.ModTime), Xattrs: map[string]string{},
	}
	for key, value := range header.PAXRecords {
		if attribute, ok := strings.CutPrefix(key, xattrPrefix); ok {
			entry.Xattrs[attribute] = hex.EncodeToString([]byte(value))
		}
	}
	switch kind {
	case listing.File:
		of := digest.Canonical.Digester()
		if _, err := io.Copy(of.Hash(), content); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		entry.Bytes, entry.Digest = header.Size, of.Digest().String()
	case listing.Symlink:
		entry.Target, entry.Bytes = header.Linkname, int64(len(header.Linkname))
	case listing.Char, listing.Block:
		entry.Device = []int64{header.Devmajor, header.Devminor}
	}
	into.Add(entry)
	return nil
}

func decompressed(blob io.Reader, mediaType string) (io.ReadCloser, error) {
	switch {
	case strings.HasSuffix(mediaType, "gzip"):
		return gzip.NewReader(blob)
	case strings.HasSuffix(mediaType, "zstd"):
		decoder, err := zstd.NewReader(blob)
		if err != nil {
			return nil, err
		}
		return decoder.IOReadCloser(), nil
	default:
		return io.NopCloser(blob), nil
	}
}
