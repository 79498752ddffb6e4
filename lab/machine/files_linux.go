package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// scratch is where a temporary file system is mounted for a moment, to make
// files in: the one directory that certainly exists and is mounted over
// anyway.
const scratch = "/proc"

// mountFiles gives the machine its own /proc, /etc/hosts and so on.
func mountFiles(c *Config) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	nsswitch, _ := os.ReadFile("/etc/nsswitch.conf")
	files := []struct {
		path, text string
		must       bool
	}{
		{"/etc/hosts", hostsFile(c), len(c.Hosts) > 0},
		{"/etc/resolv.conf", resolvFile(c), len(c.Nameservers) > 0},
		{"/etc/nsswitch.conf", nsswitchFile(string(nsswitch)), false},
	}
	if err := unix.Mount("tmpfs", scratch, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=16m"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	for _, f := range files {
		err := mountText(f.path, f.text)
		if errors.Is(err, unix.ENOENT) && !f.must {
			continue // there is no such file to put ours over
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", f.path, err)
		}
	}
	hide()
	if err := unix.Unmount(scratch, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount tmpfs: %w", err)
	}
	return mountSystem()
}

// mountText makes a file in scratch and mounts it at path.
func mountText(path, text string) error {
	file := filepath.Join(scratch, filepath.Base(path))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	return unix.Mount(file, path, "", unix.MS_BIND, "")
}

// hide puts an empty directory over the name service cache, which would answer
// for the wrong network.
func hide() {
	empty := filepath.Join(scratch, "empty")
	if os.Mkdir(empty, 0o755) != nil {
		return
	}
	for _, dir := range []string{"/run/nscd", "/var/run/nscd"} {
		unix.Mount(empty, dir, "", unix.MS_BIND, "") // mostly there is none
	}
}

// mountSystem mounts the namespace's own /proc and /sys. Inside a container
// that covers parts of them the kernel refuses, and the old ones stay: then
// process numbers in /proc are not the machine's.
func mountSystem() error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("proc", "/proc", "proc", flags, ""); err != nil && err != unix.EPERM {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if unix.Mount("sysfs", "/sys", "sysfs", flags, "") != nil {
		unix.Mount("sysfs", "/sys", "sysfs", flags|unix.MS_RDONLY, "")
	}
	return nil
}

// hostsFile is /etc/hosts: localhost, the names given, and the machine's own
// name if it is not among them.
func hostsFile(c *Config) string {
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	names := make([]string, 0, len(c.Hosts))
	for name := range c.Hosts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, a := range c.Hosts[name] {
			fmt.Fprintf(&b, "%s\t%s\n", a, name)
		}
	}
	if own := c.hostname(); own != "" && !slices.Contains(names, own) {
		fmt.Fprintf(&b, "127.0.1.1\t%s\n", own)
	}
	return b.String()
}

func resolvFile(c *Config) string {
	if len(c.Nameservers) == 0 {
		return "# This machine has no name servers.\n"
	}
	var b strings.Builder
	for _, a := range c.Nameservers {
		fmt.Fprintf(&b, "nameserver %s\n", a)
	}
	return b.String()
}

// nsswitchFile is the given nsswitch.conf with host names looked up in
// /etc/hosts and the DNS only: other sources ask daemons of the wrong network.
func nsswitchFile(old string) string {
	lines := strings.SplitAfter(old, "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool {
		return l == "" || strings.HasPrefix(strings.TrimSpace(l), "hosts:")
	})
	text := strings.Join(lines, "")
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + "hosts: files dns\n"
}
