//go:build unix

package tcpdump

import (
	"fmt"
	"os/user"
	"strconv"
	"syscall"
)

// relinquish makes this process another user's.
func relinquish(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("couldn't find user %q: %w", name, err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if syscall.Getuid() == uid {
		return nil
	}
	for _, f := range []func() error{
		func() error { return syscall.Setgroups([]int{gid}) },
		func() error { return syscall.Setgid(gid) },
		func() error { return syscall.Setuid(uid) },
	} {
		if err := f(); err != nil {
			return fmt.Errorf("couldn't change to user %q: %w", name, err)
		}
	}
	return nil
}
