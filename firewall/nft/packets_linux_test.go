package nft_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/firewall/nft"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
)

var seed = flag.Uint64("rules-seed", 0, "begin of the random rule files; 0: another each time")

// filesEnv says to the test's other process how many files it is to compare,
// and from which seed on.
const filesEnv = "TOWPATH_NFT_FILES"

// The same packets meet the same rules: which pass, what each rule counts, and
// what is listed afterwards, are the kernel's.
func TestPacketsAsRealNft(t *testing.T) {
	testenv.NeedsTUN(t)
	testenv.NeedsTool(t, "nft")
	if os.Getenv(filesEnv) == "" {
		files, first := 12, *seed
		if *all {
			files = 300
		}
		if first == 0 {
			first = uint64(time.Now().UnixNano()) % 1e9
		}
		t.Logf("%d random files from -rules-seed %d on; -all takes 300", files, first)
		t.Setenv(filesEnv, fmt.Sprint(files, " ", first))
	}
	testenv.InNamespace(t, func(t *testing.T) {
		var files int
		var first uint64
		fmt.Sscan(os.Getenv(filesEnv), &files, &first)
		k := newKernel(t)
		for i := range files {
			g := generator{rand.New(rand.NewPCG(first+uint64(i), 0))}
			if !k.compare(t, g.file(), g) {
				t.Logf("reproduce with -rules-seed %d", first+uint64(i))
			}
			if t.Failed() && files < 100 && i > 3 {
				return
			}
		}
	})
}

// A kernel is the real one in this process's namespace, and a device on which it
// gets packets.
type kernel struct {
	fd  int
	dir string
}

func newKernel(t *testing.T) *kernel {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no TUN device: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	ifr, err := unix.NewIfreq("tun0")
	if err != nil {
		t.Fatal(err)
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		t.Fatalf("TUNSETIFF: %v", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr); err != nil {
		t.Fatalf("SIOCSIFFLAGS: %v", err)
	}
	return &kernel{fd, t.TempDir()}
}

// passed counts who comes through, behind the rules.
const passed = `table inet passed {
	set four { typeof ip id; size 65535; flags dynamic; }
	set six { typeof ip6 flowlabel; size 65535; flags dynamic; }
	chain c {
		type filter hook prerouting priority 100; policy drop;
		meta nfproto ipv4 add @four { ip id }
		meta nfproto ipv6 add @six { ip6 flowlabel }
	}
}
`

func (k *kernel) nft(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("nft", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

const packetsPerFile = 150

func (k *kernel) compare(t *testing.T, text string, g generator) bool {
	file := filepath.Join(k.dir, "rules.nft")
	if err := os.WriteFile(file, []byte("flush ruleset\n"+text+passed), 0o644); err != nil {
		t.Fatal(err)
	}
	k.nft(t, "-f", file)
	rs, err := nft.Read("rules.nft", text)
	if err != nil {
		t.Errorf("%v", err)
		return false
	}
	var judge hook.PacketJudge
	e, err := nft.NewEngine(nft.Config{}, func(_ hook.Point, _ int, j hook.PacketJudge) error {
		judge = j
		return nil
	}, func(hook.Point, hook.PacketJudge) error { return nil })
	if err == nil {
		err = e.Replace(rs)
	}
	if err != nil {
		t.Errorf("%v", err)
		return false
	}
	end, _ := cable.New(cable.Config{})
	in := link.NewAdapter("tun0", 2, end)
	var ours [2]map[int]bool
	ours[0], ours[1] = map[int]bool{}, map[int]bool{}
	for n := 1; n <= packetsPerFile; n++ {
		b := g.packet(n)
		if _, err := unix.Write(k.fd, b); err != nil {
			t.Fatal(err)
		}
		p := packet.Get()
		p.AppendBytes(b)
		p.Net = p.Start()
		p.Ingress = 2
		if !nft.SetHeaders(p) {
			t.Fatal("packet without header")
		}
		if judge.JudgePacket(&hook.Context{Point: hook.Prerouting, In: in}, p) == hook.Accept {
			ours[b[0]>>4/6][n] = true
		}
		packet.Free(p)
	}
	runtime.Gosched()
	good := true
	theirs := k.nft(t, "list", "table", "inet", "t")
	if got := rs.String(); got != theirs {
		t.Errorf("nft:\n%sours:\n%s", differing(theirs, got), differing(got, theirs))
		good = false
	}
	for i, name := range []string{"four", "six"} {
		list := k.nft(t, "list", "set", "inet", "passed", name)
		_, list, _ = strings.Cut(list, "elements")
		kernels := map[int]bool{}
		for _, s := range regexp.MustCompile(`\d+`).FindAllString(list, -1) {
			var n int
			fmt.Sscan(s, &n)
			kernels[n] = true
		}
		for n := 1; n <= packetsPerFile; n++ {
			if kernels[n] != ours[i][n] {
				t.Errorf("packet %d passes nft: %v, ours: %v", n, kernels[n], ours[i][n])
				good = false
				break
			}
		}
	}
	return good
}

// Random files are listed alike too.
func TestRandomFilesListAsRealNft(t *testing.T) {
	r := startReal(t)
	files := 15
	if *all {
		files = 300
	}
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano()) % 1e9
	}
	t.Logf("%d random files from -rules-seed %d on; -all takes 300", files, first)
	for i := range files {
		g := generator{rand.New(rand.NewPCG(first+uint64(i), 0))}
		text := g.file()
		theirs, ok := r.list(text, "")
		rs, err := nft.Read("rules.nft", text)
		if !ok || err != nil {
			t.Errorf("-rules-seed %d: nft %v %s\nours: %v\n%s", first+uint64(i), ok, theirs, err, text)
			continue
		}
		if got := rs.String(); got != theirs {
			t.Errorf("-rules-seed %d:\nnft:\n%sours:\n%s", first+uint64(i), differing(theirs, got), differing(got, theirs))
		}
	}
}
