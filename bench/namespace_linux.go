package bench

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// Isolate makes cmd start as root of a network namespace of its own.
func Isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
}

// elsewhere runs f on a thread in a new network namespace, which is gone when f
// has returned and nothing is left in it.
func elsewhere(f func()) {
	done := make(chan any)
	go func() {
		defer func() { done <- recover() }()
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		check(syscall.Unshare(syscall.CLONE_NEWNET))
		f()
	}()
	if p := <-done; p != nil {
		panic(p)
	}
}

// ip runs ip(8) in the thread's namespace, once for each line.
func ip(script string) {
	for line := range strings.Lines(script) {
		if args := strings.Fields(line); len(args) > 0 {
			if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
				panic(fmt.Sprintf("ip %s: %v: %s", strings.Join(args, " "), err, out))
			}
		}
	}
}

// sysctl sets a setting of the thread's namespace.
func sysctl(name, value string) {
	check(os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0))
}
