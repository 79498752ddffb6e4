package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func init() {
	const terms = "hello/towpath and hello/gvisor connect to themselves on a stack of their own, and say a word; go build, without cgo."
	hello := func(f func(pkg, dir string) float64) map[string]func(*Run) float64 {
		m := make(map[string]func(*Run) float64)
		for _, name := range []string{"towpath", "gvisor"} {
			m[name] = func(*Run) float64 {
				dir, err := os.MkdirTemp("", "bench-build")
				check(err)
				defer os.RemoveAll(dir)
				return f("github.com/towpath/towpath/bench/hello/"+name, dir)
			}
		}
		return m
	}
	register(Line{
		Name: "build-wait", Title: "go build of a small program", Unit: "s",
		Terms:         terms + " The standard library is in the build cache, nothing else is.",
		LowerIsBetter: true, Rounds: 2,
		Contenders: hello(buildWait),
		Targets:    []Target{{Ours: "towpath", Peer: "gvisor", Aim: 0.5}},
	})
	register(Line{
		Name: "build-size", Title: "its size", Unit: "bytes", Terms: terms,
		LowerIsBetter: true, Rounds: 1,
		Contenders: hello(func(pkg, dir string) float64 {
			file := filepath.Join(dir, "hello")
			goTool("", "build", "-o", file, pkg)
			info, err := os.Stat(file)
			check(err)
			return float64(info.Size())
		}),
		Targets: []Target{{Ours: "towpath", Peer: "gvisor", Aim: 0.5}},
	})
}

// buildWait is how long go build takes, in seconds, with a cache that has the
// standard library only.
func buildWait(pkg, dir string) float64 {
	std := goTool(dir, "list", "-deps", "-f", "{{if .Standard}}{{.ImportPath}}{{end}}", pkg)
	goTool(dir, append([]string{"build"}, strings.Fields(std)...)...)
	begin := time.Now()
	goTool(dir, "build", "-o", filepath.Join(dir, "hello"), pkg)
	return time.Since(begin).Seconds()
}

// goTool runs the go command with the build cache in a directory; "" means the
// user's own.
func goTool(cache string, args ...string) string {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if cache != "" {
		cmd.Env = append(cmd.Env, "GOCACHE="+filepath.Join(cache, "cache"))
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	check(err)
	return string(out)
}
