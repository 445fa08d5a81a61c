// Package listing says what a layer holds, one file a line, in the same words whoever read it.
package listing

import (
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// Entry is one name in a layer with the file behind it, in the words of `glowplug image ls --json`.
type Entry struct {
	Layer int    `json:"layer"`
	Path  string `json:"path"`
	Type  string `json:"type"`
	// Four octal digits.
	Mode string `json:"mode"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	// Of a file its content, of a symbolic link its target.
	Bytes  int64  `json:"bytes"`
	Target string `json:"target,omitempty"`
	// Major and minor number.
	Device []int64 `json:"device,omitempty"`
	// In whole seconds; none where the reader leaves none.
	Modified string            `json:"mtime,omitempty"`
	Xattrs   map[string]string `json:"xattrs_hex,omitempty"`
	// Of the content of a regular file.
	Digest string `json:"sha256,omitempty"`
	// The first of the names of a file with several.
	Same string `json:"same,omitempty"`
}

// The types of files.
const (
	File      = "file"
	Directory = "directory"
	Symlink   = "symlink"
	Char      = "char device"
	Block     = "block device"
	Fifo      = "fifo"
)

// Mode writes permissions, set-user, set-group and sticky.
func Mode(bits int64) string { return fmt.Sprintf("%04o", bits&0o7777) }

// Modified writes a time.
func Modified(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05Z") }

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
		entry.Path = "/" + path
		if name := l.names[path]; count[name] > 1 {
			entry.Same = "/" + first[name]
		}
		if err := lines.Encode(entry); err != nil {
			return err
		}
	}
	return nil
}
