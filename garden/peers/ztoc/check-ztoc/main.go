// check-ztoc holds a zTOC of a gzip layer against the one that SOCI's own library makes of it, and reads the layer through its
// checkpoints: it prints what was compared, and every difference.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"

	"github.com/awslabs/soci-snapshotter/ztoc"
	"github.com/opencontainers/go-digest"
)

// More of them say no more.
const shown = 20

// report is what is printed.
type report struct {
	Entries int `json:"entries"`
	Spans   int `json:"spans"`
	// Decoded bytes, read span by span.
	Bytes       int64    `json:"bytes"`
	Differences []string `json:"differences"`
}

func (r *report) differ(format string, args ...any) {
	if len(r.Differences) < shown {
		r.Differences = append(r.Differences, fmt.Sprintf(format, args...))
	}
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: check-ztoc SPAN-BYTES ZTOC LAYER")
	}
	span, err := strconv.ParseInt(os.Args[1], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	checked, err := check(span, os.Args[2], os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(checked); err != nil {
		log.Fatal(err)
	}
}

func check(span int64, table, layer string) (*report, error) {
	serialised, err := os.ReadFile(table)
	if err != nil {
		return nil, err
	}
	ours, err := ztoc.Unmarshal(bytes.NewReader(serialised))
	if err != nil {
		return nil, err
	}
	theirs, err := ztoc.NewBuilder("check-ztoc").BuildZtoc(layer, span)
	if err != nil {
		return nil, err
	}
	r := &report{Entries: len(ours.FileMetadata), Spans: len(ours.SpanDigests), Differences: []string{}}
	r.compare(ours, theirs)
	if err := r.read(ours, layer); err != nil {
		return nil, err
	}
	return r, nil
}

// compare holds everything that is in a zTOC against the reference, apart from its maker and the checkpoints' own bytes, which
// depend on the version of zlib; read tries those.
func (r *report) compare(ours, theirs *ztoc.Ztoc) {
	equal := func(what string, ours, theirs any) {
		if ours != theirs {
			r.differ("%s: %v, the reference has %v", what, ours, theirs)
		}
	}
	equal("version", ours.Version, theirs.Version)
	equal("bytes of the blob", ours.CompressedArchiveSize, theirs.CompressedArchiveSize)
	equal("bytes of the archive", ours.UncompressedArchiveSize, theirs.UncompressedArchiveSize)
	equal("compression", ours.CompressionAlgorithm, theirs.CompressionAlgorithm)
	equal("last span", ours.MaxSpanID, theirs.MaxSpanID)
	equal("number of spans", len(ours.SpanDigests), len(theirs.SpanDigests))
	equal("number of entries", len(ours.FileMetadata), len(theirs.FileMetadata))
	for n := range min(len(ours.SpanDigests), len(theirs.SpanDigests)) {
		equal(fmt.Sprintf("span %d", n), ours.SpanDigests[n], theirs.SpanDigests[n])
	}
	for n := range min(len(ours.FileMetadata), len(theirs.FileMetadata)) {
		if a, b := ours.FileMetadata[n], theirs.FileMetadata[n]; !same(a, b) {
			r.differ("entry %d: %+v, the reference has %+v", n, a, b)
		}
	}
}

// same is FileMetadata.Equal with times that are the same instant in whatever zone.
func same(a, b ztoc.FileMetadata) bool {
	if !a.ModTime.Equal(b.ModTime) {
		return false
	}
	a.ModTime = b.ModTime
	return a.Equal(b)
}

// read decodes every span from its checkpoint and holds the whole against the layer read from its begin.
func (r *report) read(table *ztoc.Ztoc, layer string) error {
	file, err := os.Open(layer)
	if err != nil {
		return err
	}
	defer file.Close()
	checkpoints, err := table.Zinfo()
	if err != nil {
		return err
	}
	defer checkpoints.Close()
	decoded := digest.Canonical.Digester()
	for span := range checkpoints.MaxSpanID() + 1 {
		from := checkpoints.StartCompressedOffset(span)
		blob := make([]byte, checkpoints.EndCompressedOffset(span, table.CompressedArchiveSize)-from)
		if _, err := file.ReadAt(blob, int64(from)); err != nil {
			return fmt.Errorf("span %d: %w", span, err)
		}
		if got := digest.FromBytes(blob); got != table.SpanDigests[span] {
			r.differ("span %d is %s, the table says %s", span, got, table.SpanDigests[span])
		}
		at := checkpoints.StartUncompressedOffset(span)
		length := checkpoints.EndUncompressedOffset(span, table.UncompressedArchiveSize) - at
		plain, err := checkpoints.ExtractDataFromBuffer(blob, length, at, span)
		if err != nil {
			return fmt.Errorf("span %d: %w", span, err)
		}
		r.Bytes += int64(len(plain))
		decoded.Hash().Write(plain)
	}
	stream, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	whole, err := digest.FromReader(stream)
	if err != nil && err != io.EOF {
		return err
	}
	if decoded.Digest() != whole {
		r.differ("read by spans the archive is %s, read from its begin %s", decoded.Digest(), whole)
	}
	return nil
}
