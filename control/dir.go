package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	suffix  = ".sock"
	dialMax = 2 * time.Second
)

// Dir is the directory of this user's sockets: towpath under $XDG_RUNTIME_DIR,
// or towpath-UID under the directory for temporary files.
func Dir() string {
	if d := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(d) {
		return filepath.Join(d, "towpath")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("towpath-%d", os.Getuid()))
}

// openDir makes the directory if it is not there, makes sure that it is nobody
// else's, and locks it.
func openDir() (dir string, unlock func(), err error) {
	dir = Dir()
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", nil, err
	}
	fi, err := os.Lstat(dir)
	switch {
	case err != nil:
		return "", nil, err
	case !fi.IsDir():
		return "", nil, fmt.Errorf("%s is not a directory; remove it", dir)
	case !private(fi):
		return "", nil, fmt.Errorf("%s is open to others, or somebody else's; remove it, or chmod it to 0700", dir)
	}
	unlock, err = lockDir(dir)
	return dir, unlock, err
}

// names are the labs that answer, in order. Sockets of those that do not are
// removed. The directory is locked.
func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		file := filepath.Join(dir, e.Name())
		c, err := net.DialTimeout("unix", file, dialMax)
		switch {
		case err == nil:
			c.Close()
			all = append(all, name)
		case errors.Is(err, syscall.ECONNREFUSED):
			os.Remove(file) // its process was killed
		case !errors.Is(err, fs.ErrNotExist):
			all = append(all, name) // busy
		}
	}
	slices.Sort(all)
	return all, nil
}

// Labs are the names of this user's labs that are up. Sockets of processes that
// were killed are removed.
func Labs() ([]string, error) {
	if _, err := os.Stat(Dir()); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	dir, unlock, err := openDir()
	if err != nil {
		return nil, err
	}
	defer unlock()
	return names(dir)
}

// listen opens a socket of a name, or of name-2 and so on if there are such
// labs already.
func listen(name string) (net.Listener, string, error) {
	dir, unlock, err := openDir()
	if err != nil {
		return nil, "", err
	}
	defer unlock()
	taken, err := names(dir)
	if err != nil {
		return nil, "", err
	}
	free := name
	for i := 2; slices.Contains(taken, free); i++ {
		free = fmt.Sprintf("%s-%d", name, i)
	}
	file := filepath.Join(dir, free+suffix)
	l, err := net.Listen("unix", file)
	if err != nil {
		return nil, "", err
	}
	if err := os.Chmod(file, 0o600); err != nil {
		return nil, "", errors.Join(err, l.Close())
	}
	return l, free, nil
}

// fileName makes a lab's name one of a file.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, name)
	if name = name[:min(len(name), 40)]; name == "" {
		return "lab"
	}
	return name
}
