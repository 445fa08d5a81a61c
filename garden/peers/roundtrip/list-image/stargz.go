package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/opencontainers/go-digest"

	"glowplug/garden/peers/roundtrip/listing"
)

var stargzTypes = map[string]string{
	"reg": listing.File, "dir": listing.Directory, "symlink": listing.Symlink,
	"char": listing.Char, "block": listing.Block, "fifo": listing.Fifo,
}

// stargz is one layer as stargz-snapshotter reads it: by its table, every chunk held against it.
type stargz struct {
	layer  *estargz.Reader
	chunks estargz.TOCEntryVerifier
	into   *listing.Layer
}

// readStargz reads eStargz, and zstd:chunked in stargz-snapshotter's dialect.
func readStargz(from source, into *listing.Layer) error {
	file, err := os.Open(from.blob)
	if err != nil {
		return err
	}
	defer file.Close()
	annotations := from.descriptor.Annotations
	table, ok := annotations[estargz.TOCJSONDigestAnnotation]
	if !ok {
		table, ok = annotations[zstdchunked.ManifestChecksumAnnotation]
	}
	if !ok {
		return errors.New("no annotation says what its table is")
	}
	layer, err := estargz.Open(io.NewSectionReader(file, 0, from.descriptor.Size),
		estargz.WithDecompressors(new(zstdchunked.Decompressor)))
	if err != nil {
		return err
	}
	chunks, err := layer.VerifyTOC(digest.Digest(table))
	if err != nil {
		return err
	}
	root, ok := layer.Lookup("")
	if !ok {
		return errors.New("a table without a root")
	}
	s := stargz{layer: layer, chunks: chunks, into: into}
	// Names of the same file: after all files, so that each is there.
	links := map[string]string{}
	if err := s.below(root, "", links); err != nil {
		return err
	}
	for name, to := range links {
		if err := into.Link(name, to); err != nil {
			return err
		}
	}
	return nil
}

func (s *stargz) below(folder *estargz.TOCEntry, at string, links map[string]string) (err error) {
	folder.ForeachChild(func(base string, entry *estargz.TOCEntry) bool {
		name, own := path.Join(at, base), listing.Clean(entry.Name)
		switch {
		case stargzOwn[name]:
		case name != own:
			links[name] = own
		default:
			if err = s.add(name, entry); err == nil && entry.Type == "dir" {
				err = s.below(entry, name, links)
			}
		}
		return err == nil
	})
	return err
}

func (s *stargz) add(name string, of *estargz.TOCEntry) error {
	kind, ok := stargzTypes[of.Type]
	if !ok {
		return fmt.Errorf("%s is of the unknown type %q", name, of.Type)
	}
	entry := listing.Entry{
		Path: name, Type: kind, Mode: listing.Mode(of.Mode), UID: of.UID, GID: of.GID, Xattrs: map[string]string{},
	}
	for name, value := range of.Xattrs {
		entry.Xattrs[name] = hex.EncodeToString(value)
	}
	// A folder that is only in other names has none.
	if modified := of.ModTime(); !modified.IsZero() {
		entry.Modified = listing.Modified(modified)
	}
	switch kind {
	case listing.File:
		content, err := s.content(name, of)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		entry.Bytes, entry.Digest = of.Size, content.String()
	case listing.Symlink:
		entry.Target, entry.Bytes = of.LinkName, int64(len(of.LinkName))
	case listing.Char, listing.Block:
		entry.Device = []int64{int64(of.DevMajor), int64(of.DevMinor)}
	}
	s.into.Add(entry)
	return nil
}

// content reads a file chunk by chunk.
func (s *stargz) content(name string, of *estargz.TOCEntry) (digest.Digest, error) {
	file, err := s.layer.OpenFile(name)
	if err != nil {
		return "", err
	}
	whole := digest.Canonical.Digester()
	for at := int64(0); at < of.Size; {
		chunk, ok := s.layer.ChunkEntryForOffset(name, at)
		if !ok || chunk.ChunkOffset != at || chunk.ChunkSize <= 0 {
			return "", fmt.Errorf("no chunk begins at %d of %d bytes", at, of.Size)
		}
		verifier, err := s.chunks.Verifier(chunk)
		if err != nil {
			return "", err
		}
		bytes := make([]byte, chunk.ChunkSize)
		if _, err := file.ReadAt(bytes, at); err != nil {
			return "", fmt.Errorf("the chunk at %d: %w", at, err)
		}
		if _, err := verifier.Write(bytes); err != nil {
			return "", err
		}
		if !verifier.Verified() {
			return "", fmt.Errorf("the chunk at %d is not what the table says", at)
		}
		if _, err := whole.Hash().Write(bytes); err != nil {
			return "", err
		}
		at += chunk.ChunkSize
	}
	if of.Digest != "" && of.Digest != whole.Digest().String() {
		return "", fmt.Errorf("the file is %s, the table says %s", whole.Digest(), of.Digest)
	}
	return whole.Digest(), nil
}
