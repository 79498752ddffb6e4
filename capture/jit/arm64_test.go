package jit

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/towpath/towpath/internal/testenv"
)

// TestArm64 runs this package's tests for arm64 in an emulator.
func TestArm64(t *testing.T) {
	if runtime.GOARCH == "arm64" {
		t.Skip("this is arm64")
	}
	if testing.Short() || testenv.Race {
		t.Skip("takes seconds to build, and is not another test under the race detector")
	}
	testenv.NeedsTool(t, "go")
	dynamic, _ := exec.LookPath("qemu-aarch64")
	static, _ := exec.LookPath("qemu-aarch64-static")
	qemu := cmp.Or(static, dynamic)
	if qemu == "" {
		t.Skip("needs the program qemu-aarch64-static")
	}
	file := filepath.Join(t.TempDir(), "jit.test")
	build := exec.Command("go", "test", "-c", "-o", file, ".")
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building for arm64: %v\n%s", err, out)
	}
	out, err := exec.Command(qemu, file, "-test.v", "-test.short", "-test.skip", "^Fuzz", "-rounds", "1000").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
