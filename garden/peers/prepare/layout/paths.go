package layout

import (
	"os"
	"strings"
)

// Paths reads a list of paths, one a line; none for an empty name.
func Paths(file string) ([]string, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var paths []string
	for path := range strings.Lines(string(text)) {
		if path = strings.TrimSuffix(path, "\n"); path != "" {
			paths = append(paths, path)
		}
	}
	return paths, nil
}
