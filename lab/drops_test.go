package lab_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/lab"
)

// TestDrops has what hosts drop printed, and written with the reasons.
func TestDrops(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "lab.yaml")
	must(os.WriteFile(file, []byte(`name: drops
nodes:
  alice: {addresses: {eth0: 10.0.0.1/24}, run: ["get http://bob:81/"]}
  bob: {addresses: {eth0: 10.0.0.2/24}}
links:
  - {endpoints: ["alice:eth0", "bob:eth0"]}
`), 0o644))
	spec, err := lab.Load(file)
	must(err)
	var out bytes.Buffer
	n, err := lab.Up(t.Context(), spec, lab.Options{CaptureDir: dir, Drops: true, Output: &out})
	must(err)
	if n.Run(t.Context()) == nil {
		t.Error("nobody listens, and it worked")
	}
	must(n.Close(t.Context()))
	if !regexp.MustCompile(`(?m)^bob   \| .* eth0  In  IP 10\.0\.0\.1\.\d+ > 10\.0\.0\.2\.81: Flags \[S\], .* \[tcp port closed\]$`).MatchString(out.String()) {
		t.Errorf("printed is\n%s", out.String())
	}
	f, err := os.Open(filepath.Join(dir, "drops.pcapng"))
	must(err)
	defer f.Close()
	r, err := savefile.NewPcapngReader(f)
	must(err)
	for {
		p, err := r.Next()
		if err == io.EOF {
			t.Fatal("no such packet in the file")
		}
		must(err)
		if p.Comment == "dropped: tcp port closed" && p.Direction == savefile.DirectionIn && r.Interfaces()[p.Interface].Name == "bob" {
			return
		}
	}
}
