package testenv

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside is set, to the test's name, in a process that InNamespace has made.
const inside = "TOWPATH_TEST_NAMESPACE"

// NeedsUserNS skips the test if no user and network namespace can be made.
func NeedsUserNS(t testing.TB) {
	t.Helper()
	if err := userNS(); err != nil {
		t.Skipf("needs user namespaces: %v", err)
	}
}

var userNS = sync.OnceValue(func() error {
	path, err := exec.LookPath("true")
	if err != nil {
		return err
	}
	cmd := exec.Command(path)
	cmd.SysProcAttr = namespace(0)
	return cmd.Run()
})

// NeedsTUN skips the test if TUN and TAP devices may not be opened.
func NeedsTUN(t testing.TB) {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("needs /dev/net/tun: %v", err)
	}
	unix.Close(fd)
}

func namespace(uid int) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getegid(), Size: 1}},
	}
	if uid != 0 {
		a.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW}
	}
	return a
}

// InNamespace runs f as root of a user and a network namespace of its own. It
// runs the test t, which must do nothing else, again in another process.
func InNamespace(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	InNamespaceAs(t, 0, f)
}

// InNamespaceAs is InNamespace with a user who is not root, but may do with the
// network what root may. It is for programs that give up being root, which the
// namespace has no other user for.
func InNamespaceAs(t *testing.T, uid int, f func(t *testing.T)) {
	t.Helper()
	if os.Getenv(inside) == t.Name() {
		f(t)
		return
	}
	NeedsUserNS(t)
	var parts []string
	for _, s := range strings.Split(t.Name(), "/") {
		parts = append(parts, "^"+regexp.QuoteMeta(s)+"$")
	}
	args := []string{"-test.v", "-test.count=1", "-test.timeout=120s", "-test.run=" + strings.Join(parts, "/")}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = namespace(uid)
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Fatalf("in namespace: %v\n%s", err, out)
	case bytes.Contains(out, fmt.Appendf(nil, "--- SKIP: %s ", t.Name())):
		t.Skipf("in namespace:\n%s", out)
	case !bytes.Contains(out, fmt.Appendf(nil, "--- PASS: %s ", t.Name())):
		t.Fatalf("in namespace: the test did not run\n%s", out)
	case testing.Verbose():
		t.Logf("in namespace:\n%s", out)
	}
}
