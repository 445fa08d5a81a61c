// record-opens writes down which files of a mounted file system are opened, in the order in which each is opened first:
// the list that the peers' converters take. It says "recording" once nothing escapes it any more, and ends with SIGTERM.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: record-opens MOUNT FILE")
	}
	mount, list := os.Args[1], os.Args[2]
	events, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_UNLIMITED_QUEUE,
		unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC)
	if err != nil {
		log.Fatalf("fanotify: %v", err)
	}
	// Of the whole file system: who opens may see it by another mount.
	err = unix.FanotifyMark(events, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, unix.FAN_OPEN, unix.AT_FDCWD, mount)
	if err != nil {
		log.Fatalf("fanotify on %s: %v", mount, err)
	}
	file, err := os.Create(list)
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-ended
		// Each line is written as it comes.
		os.Exit(0)
	}()
	fmt.Println("recording")
	out := bufio.NewWriter(file)
	seen := map[string]bool{}
	buffer := make([]byte, 1<<16)
	for {
		n, err := unix.Read(events, buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			log.Fatalf("fanotify: %v", err)
		}
		for rest := buffer[:n]; len(rest) >= int(unsafe.Sizeof(unix.FanotifyEventMetadata{})); {
			length := binary.NativeEndian.Uint32(rest)
			path, err := opened(rest)
			if err == nil {
				path = strings.TrimPrefix(strings.TrimPrefix(path, mount), "/")
				if path != "" && !seen[path] {
					seen[path] = true
					fmt.Fprintln(out, path)
				}
			}
			rest = rest[length:]
		}
		if err := out.Flush(); err != nil {
			log.Fatal(err)
		}
	}
}

// opened gives the path in the event at the begin of text and closes the event's file.
func opened(text []byte) (string, error) {
	event := (*unix.FanotifyEventMetadata)(unsafe.Pointer(&text[0]))
	if event.Fd < 0 {
		return "", errors.New("an event without a file")
	}
	defer unix.Close(int(event.Fd))
	return os.Readlink("/proc/self/fd/" + strconv.Itoa(int(event.Fd)))
}
