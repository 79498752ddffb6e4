//go:build amd64 || arm64

package run

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// refuse says in one line why a program cannot be run on a host, before it is
// started; nil lets it. What it starts in its turn is not looked at.
func refuse(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	st := fi.Sys().(*syscall.Stat_t)
	switch {
	case fi.Mode()&os.ModeSetuid != 0 && int(st.Uid) != os.Geteuid():
		return errors.New("it is a setuid program, and under towpath run programs get no rights that their user has not: run towpath as root, or a copy of the program without the bit")
	case fi.Mode()&os.ModeSetgid != 0 && int(st.Gid) != os.Getegid():
		return errors.New("it is a setgid program, and under towpath run programs get no rights that their user has not: run towpath as root, or a copy of the program without the bit")
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrPermission) {
		return errors.New("it may be executed but not read, and what it does could not be looked at: run towpath as root, or a copy of the program that may be read")
	}
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, elfHead)
	n, err := io.ReadFull(f, head)
	if err != nil && n == 0 {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	return refuseELF(head[:n])
}

// elfHead is how much of a program tells its architecture (elf(5)).
const elfHead = 20

// refuseELF looks at the beginning of a program. What is no ELF file is a script
// or nothing that the kernel executes.
func refuseELF(head []byte) error {
	if len(head) < elfHead || !bytes.HasPrefix(head, []byte("\x7fELF")) {
		return nil
	}
	if head[4] != 2 { // ELFCLASS64
		return errors.New("it is a 32-bit program, and towpath run serves 64-bit programs only")
	}
	if m := native.Uint16(head[18:]); m != elfMachine {
		return fmt.Errorf("it is a program for another machine (ELF type %d)", m)
	}
	return nil
}
