package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// probeMax bounds Probe.
const probeMax = 10 * time.Second

// Probe finds out what machines need and can have on this system. Machines can
// be started if the first check is good and one of the two that follow.
func Probe() []Check {
	checks, err := probe()
	if err != nil {
		return []Check{{Name: "user namespaces", Detail: err.Error()}}
	}
	return append([]Check{{Name: "user namespaces", OK: true, Detail: "user, network, mount and PID namespaces can be made"}}, checks...)
}

func probe() ([]Check, error) {
	ctx, cancel := context.WithTimeout(context.Background(), probeMax)
	defer cancel()
	m, err := spawn("probe")
	if err != nil {
		return nil, err
	}
	defer m.Close(ctx)
	r, err := m.setUp(ctx, message{Kind: kindConfig, Probe: true})
	return r.Checks, err
}

// probeInside is the machine's part of Probe.
func probeInside() []Check {
	list := []Interface{{Name: "probe0"}}
	return []Check{
		check("tap devices", "interfaces can be TAP devices", func() error {
			fds, err := addTAPs(list)
			closeAll(fds)
			return err
		}),
		check("veth and packet sockets", "interfaces can be veth pairs", func() error {
			fds, err := addVeths(list)
			closeAll(fds)
			return err
		}),
		check("mounts", "machines have their own /etc/hosts", func() error {
			return mountFiles(&Config{})
		}),
		check("own /proc", "programs see the machine's processes", func() error {
			return unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
		}),
	}
}

func check(name, good string, try func() error) Check {
	if err := try(); err != nil {
		return Check{Name: name, Detail: err.Error()}
	}
	return Check{Name: name, OK: true, Detail: good}
}

// explain adds to the error of making namespaces what on this system probably
// causes it.
func explain(err error) error {
	why := switchedOff()
	switch {
	case why != "":
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		why = "there are too many namespaces (limits are user.max_*_namespaces)"
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
		why = "this kernel has no user namespaces"
	case errors.Is(err, unix.EPERM) && inContainer():
		why = "this container forbids namespaces (its seccomp or AppArmor profile)"
	default:
		return err
	}
	return fmt.Errorf("%s: %w", why, err)
}

// explainInside does so for the error of setting a machine up.
func explainInside(err error) error {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOSPC) {
		return err
	}
	if why := switchedOff(); why != "" {
		return fmt.Errorf("%s: %w", why, err)
	}
	return err
}

// switchedOff names the setting that forbids namespaces, if there is one.
func switchedOff() string {
	for _, ns := range []struct{ file, name string }{
		{"user", "user"}, {"net", "network"}, {"mnt", "mount"}, {"pid", "PID"}, {"uts", "host name"},
	} {
		if key := "max_" + ns.file + "_namespaces"; setting("user/"+key) == "0" {
			return fmt.Sprintf("%s namespaces are switched off (user.%s=0)", ns.name, key)
		}
	}
	switch {
	case os.Geteuid() == 0:
		return ""
	case setting("kernel/unprivileged_userns_clone") == "0":
		return "user namespaces are for root only (kernel.unprivileged_userns_clone=0)"
	case setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
		return "AppArmor takes the rights out of user namespaces (kernel.apparmor_restrict_unprivileged_userns=1): give this program a profile with userns, or set that to 0"
	}
	return ""
}

func setting(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// inContainer reports whether a seccomp filter is on this process or a
// container's mark is there.
func inContainer() bool {
	b, _ := os.ReadFile("/proc/self/status")
	if strings.Contains(string(b), "\nSeccomp:\t2") {
		return true
	}
	for _, f := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(f); err == nil {
			return true
		}
	}
	return false
}
