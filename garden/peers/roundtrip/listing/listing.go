// Package listing says what a layer holds, one file a line, in the same words whoever read it.
package listing

import (
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// Entry is one name in a layer with the file behind it.
type Entry struct {
	Layer  int    `json:"layer"`
	Path   string `json:"path"`
	Type   string `json:"type"`
	Mode   int64  `json:"mode"`
	UID    int    `json:"uid"`
	GID    int    `json:"gid"`
	Size   int64  `json:"size"`
	Target string `json:"target,omitempty"`
	// Major and minor number.
	Device string `json:"device,omitempty"`
	// Seconds since 1970; none where the reader leaves none.
	Modified *int64            `json:"modified,omitempty"`
	Xattrs   map[string][]byte `json:"xattrs,omitempty"`
	// Of the content of a regular file.
	Digest string `json:"digest,omitempty"`
	// The first of the names of a file with several.
	Same string `json:"same,omitempty"`
}

// The types of files.
const (
	File      = "file"
	Directory = "directory"
	Symlink   = "symlink"
	Char      = "char"
	Block     = "block"
	Fifo      = "fifo"
)

// ModeBits are permissions, set-user, set-group and sticky.
const ModeBits = 0o7777

// Layer collects the entries of one layer.
type Layer struct {
	number  int
	entries map[string]Entry
	// Under which name the file of a path was read.
	names map[string]string
}

// NewLayer begins the layer with this number, the lowest being 0.
func NewLayer(number int) *Layer {
	return &Layer{number: number, entries: map[string]Entry{}, names: map[string]string{}}
}

// Clean gives a path without a slash at either end; the root is empty.
func Clean(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

// Add puts the file under its path, instead of what had that path.
func (l *Layer) Add(entry Entry) {
	entry.Layer = l.number
	l.entries[entry.Path] = entry
	l.names[entry.Path] = entry.Path
}

// Link gives the file that was added as source a further name.
func (l *Layer) Link(name, source string) error {
	entry, ok := l.entries[source]
	if !ok {
		return fmt.Errorf("%s is a link to %s, which is not in the layer", name, source)
	}
	entry.Path = name
	l.entries[name] = entry
	l.names[name] = l.names[source]
	return nil
}

// Print writes the entries in the order of their paths, one a line.
func (l *Layer) Print(to io.Writer) error {
	var paths []string
	first, count := map[string]string{}, map[string]int{}
	for path := range l.entries {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		name := l.names[path]
		if count[name]++; count[name] == 1 {
			first[name] = path
		}
	}
	lines := json.NewEncoder(to)
	lines.SetEscapeHTML(false)
	for _, path := range paths {
		entry := l.entries[path]
		if name := l.names[path]; count[name] > 1 {
			entry.Same = first[name]
		}
		if err := lines.Encode(entry); err != nil {
			return err
		}
	}
	return nil
}
