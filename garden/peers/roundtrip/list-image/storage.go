package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containers/storage"
	graphdriver "github.com/containers/storage/drivers"
	"github.com/containers/storage/pkg/archive"
	"github.com/containers/storage/pkg/chunked"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"glowplug/garden/peers/roundtrip/listing"
)

// A store as podman and CRI-O have one, as far as unpacking a layer by its table asks for it: nothing is in it.
type store struct {
	storage.Store
	folder  string
	options map[string]string
}

// A driver that can do partial pulls; that is all that is asked of it.
type driver struct {
	graphdriver.DriverWithDiffer
}

func (s *store) PullOptions() map[string]string           { return s.options }
func (s *store) GraphDriver() (graphdriver.Driver, error) { return driver{}, nil }
func (s *store) RunRoot() string                          { return s.folder }
func (s *store) Layers() ([]storage.Layer, error)         { return nil, nil }

// ranges are pieces of a file where a registry would be.
type ranges struct{ file *os.File }

func (r ranges) GetBlobAt(chunks []chunked.ImageSourceChunk) (chan io.ReadCloser, chan error, error) {
	streams, errs := make(chan io.ReadCloser), make(chan error)
	go func() {
		defer close(streams)
		defer close(errs)
		for _, chunk := range chunks {
			streams <- io.NopCloser(io.NewSectionReader(r.file, int64(chunk.Offset), int64(chunk.Length)))
		}
	}()
	return streams, errs, nil
}

// readStorage has the layer pulled partially by podman's and CRI-O's library, piece by piece by its table, and lists what it
// has unpacked. The archive that the library puts together again must be the one that the image names. It sets owners and
// makes devices: it needs root.
func readStorage(from source, into *listing.Layer) error {
	file, err := os.Open(from.blob)
	if err != nil {
		return err
	}
	defer file.Close()
	root, work := filepath.Join(from.scratch, "root"), filepath.Join(from.scratch, "work")
	for _, folder := range []string{root, work} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	defer os.RemoveAll(from.scratch)
	options := map[string]string{"enable_partial_images": "true"}
	// What an archive is put together of is not in eStargz at all.
	_, loose := from.descriptor.Annotations[estargz.TOCJSONDigestAnnotation]
	if loose {
		options["insecure_allow_unpredictable_image_contents"] = "true"
	}
	differ, err := chunked.NewDiffer(context.Background(), &store{folder: work, options: options},
		from.descriptor.Digest, from.descriptor.Size, from.descriptor.Annotations, ranges{file})
	if err != nil {
		return err
	}
	defer differ.Close()
	output, err := differ.ApplyDiff(root, &archive.TarOptions{}, &graphdriver.DifferOptions{})
	if err != nil {
		return err
	}
	if output.TarSplit != nil {
		defer output.TarSplit.Close()
	}
	if !loose && output.UncompressedDigest != from.diffID {
		return fmt.Errorf("the archive put together again is %s, not %s", output.UncompressedDigest, from.diffID)
	}
	return listFolder(root, into)
}

func listFolder(root string, into *listing.Layer) error {
	names := map[uint64]string{}
	return filepath.WalkDir(root, func(place string, _ fs.DirEntry, err error) error {
		name := strings.TrimPrefix(strings.TrimPrefix(place, root), "/")
		if err != nil || name == "" {
			return err
		}
		var stat unix.Stat_t
		if err := unix.Lstat(place, &stat); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if first, ok := names[stat.Ino]; ok {
			return into.Link(name, first)
		}
		if stat.Mode&unix.S_IFMT != unix.S_IFDIR && stat.Nlink > 1 {
			names[stat.Ino] = name
		}
		entry, err := fileEntry(place, &stat)
		entry.Path = name
		if err == nil && !stargzOwn[name] {
			into.Add(entry)
		}
		return err
	})
}

func fileEntry(place string, stat *unix.Stat_t) (listing.Entry, error) {
	entry := listing.Entry{
		Mode: listing.Mode(int64(stat.Mode)), UID: int(stat.Uid), GID: int(stat.Gid),
		Modified: listing.Modified(time.Unix(stat.Mtim.Unix())),
	}
	var err error
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		entry.Type, entry.Bytes = listing.File, stat.Size
		var content digest.Digest
		content, err = fileDigest(place)
		entry.Digest = content.String()
	case unix.S_IFDIR:
		// The time of a folder is when its last file was made in it.
		entry.Type, entry.Modified = listing.Directory, ""
	case unix.S_IFLNK:
		// The library leaves the times of links as they come.
		entry.Type, entry.Modified = listing.Symlink, ""
		entry.Target, err = os.Readlink(place)
		entry.Bytes = int64(len(entry.Target))
	case unix.S_IFCHR, unix.S_IFBLK:
		entry.Type = listing.Char
		if stat.Mode&unix.S_IFMT == unix.S_IFBLK {
			entry.Type = listing.Block
		}
		entry.Device = []int64{int64(unix.Major(stat.Rdev)), int64(unix.Minor(stat.Rdev))}
	case unix.S_IFIFO:
		entry.Type = listing.Fifo
	}
	if err != nil {
		return entry, err
	}
	entry.Xattrs, err = xattrs(place)
	return entry, err
}

func fileDigest(place string) (digest.Digest, error) {
	file, err := os.Open(place)
	if err != nil {
		return "", err
	}
	defer file.Close()
	return digest.FromReader(file)
}

func xattrs(place string) (map[string]string, error) {
	names := make([]byte, 1<<16)
	length, err := unix.Llistxattr(place, names)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	all := map[string]string{}
	value := make([]byte, 1<<16)
	for name := range strings.SplitSeq(string(names[:length]), "\x00") {
		// The machine's own label is not the layer's.
		if name == "" || name == "security.selinux" {
			continue
		}
		length, err := unix.Lgetxattr(place, name, value)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", place, name, err)
		}
		all[name] = hex.EncodeToString(value[:length])
	}
	return all, nil
}
