// make-ztocs makes the zTOCs of gzip layers by SOCI's own library, all at once as SOCI does it, and leaves them in a folder:
// the same work without the copies of the image that `soci convert` makes besides.
package main

import (
	"io"
	"log"
	"os"
	"path/filepath"
	"strconv"

	"github.com/awslabs/soci-snapshotter/ztoc"
	"golang.org/x/sync/errgroup"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 4 {
		log.Fatal("usage: make-ztocs SPAN-BYTES FOLDER LAYER...")
	}
	span, err := strconv.ParseInt(os.Args[1], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	builder := ztoc.NewBuilder("make-ztocs")
	var all errgroup.Group
	for _, layer := range os.Args[3:] {
		all.Go(func() error { return build(builder, layer, span, filepath.Join(os.Args[2], filepath.Base(layer))) })
	}
	if err := all.Wait(); err != nil {
		log.Fatal(err)
	}
}

func build(builder *ztoc.Builder, layer string, span int64, to string) error {
	table, err := builder.BuildZtoc(layer, span)
	if err != nil {
		return err
	}
	serialised, _, err := ztoc.Marshal(table)
	if err != nil {
		return err
	}
	file, err := os.Create(to)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.Copy(file, serialised); err != nil {
		return err
	}
	return file.Close()
}
