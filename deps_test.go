package towpath_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/towpath/towpath"

// depsPolicy is who may import whom. A line is a package, and behind the colon
// what it may import beside the standard library: packages that stand above it,
// and modules of others by their paths. Build constraints play no part: what is
// imported on any system counts. Tests may import what they like.
//
// The core ends at the line of dashes. Above it no modules of others are
// allowed but golang.org/x/sys and golang.org/x/net, so that whoever embeds a
// host gets a short list of modules.
const depsPolicy = `
wire:
clock:
capture/bpf:
packet:           wire
internal/sys:     golang.org/x/sys
internal/sys/vnet: packet wire golang.org/x/sys
internal/unotify: golang.org/x/sys

link:             packet wire
link/loop:        link packet
link/cable:       link packet wire
link/netem:       clock link packet wire
link/bridge:      clock link packet wire
link/tun:         link packet wire internal/sys internal/sys/vnet golang.org/x/sys
link/afpacket:    link packet wire internal/sys internal/sys/vnet golang.org/x/sys

ip/ifaddr:        wire
ip/route:
ip/neigh:         packet wire
ip/frag:          packet wire
ip/group:         packet wire
tcp/cc:
tcp:              packet tcp/cc wire
socket:           clock

# Drivers, the firewall and capture never import the host; what they need of it
# is hook.Env.
firewall/hook:    link packet wire
firewall/classify: packet wire
firewall/conntrack: firewall/classify firewall/hook packet wire
firewall/nat:     firewall/classify firewall/conntrack firewall/hook packet wire
firewall/nft:     firewall/classify firewall/conntrack firewall/hook firewall/nat ip/ifaddr ip/route link packet wire
firewall/nft/fwtest: firewall/nft packet
capture:          clock firewall/hook link packet wire
capture/jit:      capture/bpf golang.org/x/sys
capture/sockfilter: capture/bpf golang.org/x/sys
capture/expr:     capture/bpf wire
capture/savefile: wire
capture/dissect:  wire
capture/live:     capture/bpf capture/jit capture/savefile wire golang.org/x/sys
capture/pcap:     capture capture/bpf capture/expr capture/jit capture/live capture/savefile clock link packet wire

# Of the drivers only the loopback, of the firewall only the hooks.
host:             clock packet wire link link/loop ip/ifaddr ip/route ip/neigh ip/frag ip/group tcp tcp/cc socket firewall/hook
----
posix:            capture/bpf clock host link socket tcp wire
posix/procnet:    host ip/neigh ip/route packet posix tcp wire
posix/rtnl:       host ip/ifaddr ip/neigh ip/route link posix tcp wire
posix/sockd:      clock host ip/route link packet posix socket golang.org/x/sys
run:              host internal/unotify packet posix posix/procnet posix/rtnl socket golang.org/x/net golang.org/x/sys

service:          host
service/echo:     host service
service/http:     host service
tool:             host
tool/arp:         ip/neigh tool
tool/get:         host tool
tool/ip:          host ip/ifaddr ip/neigh ip/route link packet tool wire
tool/nc:          host tool
tool/ping:        host tool
tool/route:       ip/route tool
tool/sleep:       host tool
tool/ss:          host tcp tool wire
tool/sysctl:      tool
tool/traceroute:  host socket tool wire
tool/tcpdump:     capture/bpf capture/dissect capture/expr capture/pcap capture/savefile host tool wire

lab/machine:      link link/afpacket link/tun wire internal/sys golang.org/x/sys
lab:              firewall/conntrack firewall/nat firewall/nft run capture capture/dissect capture/savefile clock host ip/route lab/machine link link/bridge link/cable link/netem packet wire
                  service service/echo service/http tool tool/arp tool/get tool/ip tool/nc tool/ping tool/route tool/sleep tool/ss tool/sysctl tool/tcpdump tool/traceroute
                  github.com/goccy/go-yaml
control:          lab
cmd/towpath:      control firewall/nft host lab lab/machine packet posix/sockd run service service/echo service/http tool/tcpdump
                  github.com/spf13/cobra

# For tests only.
internal/testenv: golang.org/x/sys
internal/testenv/kernelrouter: internal/testenv golang.org/x/sys
link/linktest:    link link/afpacket packet wire internal/sys go.uber.org/goleak
`

// A policy is depsPolicy, read.
type policy struct {
	order   []string
	allowed map[string][]string // by package
	core    map[string]bool
}

func readPolicy(t *testing.T) *policy {
	p := &policy{allowed: map[string][]string{}, core: map[string]bool{}}
	core, last := true, ""
	for line := range strings.Lines(depsPolicy) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case strings.HasPrefix(line, "-"):
			core = false
			continue
		}
		list := line
		if !strings.HasPrefix(line, " ") {
			name, rest, ok := strings.Cut(line, ":")
			if _, twice := p.allowed[name]; !ok || twice {
				t.Fatalf("policy: bad line %q", line)
			}
			last, list = name, rest
			p.order = append(p.order, name)
			p.allowed[name], p.core[name] = []string{}, core
		}
		for _, dep := range strings.Fields(list) {
			_, above := p.allowed[dep]
			module := strings.Contains(strings.Split(dep, "/")[0], ".")
			if !module && (!above || dep == last) {
				t.Errorf("policy: %s may import %s, which does not stand above it", last, dep)
			}
			if module && core && dep != "golang.org/x/sys" && dep != "golang.org/x/net" {
				t.Errorf("policy: %s is of the core and may not import %s", last, dep)
			}
			p.allowed[last] = append(p.allowed[last], dep)
		}
	}
	return p
}

// allows reports whether pkg may import the package dep, which is given without
// our module's path if it is ours.
func (p *policy) allows(pkg, dep string) bool {
	return slices.ContainsFunc(p.allowed[pkg], func(a string) bool {
		ours := !strings.Contains(strings.Split(a, "/")[0], ".")
		return dep == a || !ours && strings.HasPrefix(dep, a+"/")
	})
}

// A folder is a package as its files that are no tests tell.
type folder struct {
	imports  map[string]string // to the file that has it; without the standard library
	comments []string          // files with a package comment
}

// folders reads the module's packages.
func folders(t *testing.T) map[string]*folder {
	all := map[string]*folder{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." {
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			if err == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") {
				return filepath.SkipDir
			}
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(name))
		if all[dir] == nil {
			all[dir] = &folder{imports: map[string]string{}}
		}
		if f.Doc != nil {
			all[dir].comments = append(all[dir].comments, name)
		}
		for _, spec := range f.Imports {
			dep, _ := strconv.Unquote(spec.Path.Value)
			if ours, ok := strings.CutPrefix(dep, modulePath+"/"); ok {
				all[dir].imports[ours] = name
			} else if strings.Contains(strings.Split(dep, "/")[0], ".") || dep == "C" {
				all[dir].imports[dep] = name
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDependencies holds the packages to the policy.
func TestDependencies(t *testing.T) {
	p, all := readPolicy(t), folders(t)
	for _, pkg := range slices.Sorted(maps.Keys(all)) {
		if _, ok := p.allowed[pkg]; !ok {
			t.Errorf("package %s does not stand in the policy of deps_test.go", pkg)
			continue
		}
		for dep, file := range all[pkg].imports {
			if !p.allows(pkg, dep) {
				t.Errorf("%s: package %s may not import %s", file, pkg, dep)
			}
		}
	}
	for _, pkg := range p.order {
		if all[pkg] == nil {
			t.Errorf("package %s stands in the policy of deps_test.go and is not there", pkg)
		}
	}
}

// TestHostModules: a program that imports only host gets a short list of
// modules.
func TestHostModules(t *testing.T) {
	all := folders(t)
	modules, seen := map[string]bool{}, map[string]bool{}
	var visit func(pkg string)
	visit = func(pkg string) {
		if seen[pkg] {
			return
		}
		seen[pkg] = true
		for dep := range all[pkg].imports {
			if all[dep] != nil {
				visit(dep)
				continue
			}
			parts := strings.SplitN(dep, "/", 4)
			modules[strings.Join(parts[:min(len(parts), 3)], "/")] = true
		}
	}
	visit("host")
	for m := range modules {
		if m != "golang.org/x/sys" && m != "golang.org/x/net" {
			t.Errorf("package host needs the module %s", m)
		}
	}
}

// TestPackageComments: a folder has one package comment.
func TestPackageComments(t *testing.T) {
	all := folders(t)
	for _, pkg := range slices.Sorted(maps.Keys(all)) {
		if n := len(all[pkg].comments); n != 1 {
			t.Errorf("package %s has %d package comments: %s", pkg, n, fmt.Sprint(all[pkg].comments))
		}
	}
}
