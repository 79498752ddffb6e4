package tcpdump_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/tool/tcpdump"
	"github.com/towpath/towpath/wire"
)

var (
	macA = wire.MAC{2, 0, 0, 0, 0, 1}
	macB = wire.MAC{0, 0, 0x0c, 0, 0, 2}
	a4   = netip.MustParseAddr("127.0.0.1")
	b4   = netip.MustParseAddr("192.168.7.2")
	a6   = netip.MustParseAddr("2001:db8::1")
	b6   = netip.MustParseAddr("fe80::2")
)

// datagrams are IP packets of an ordinary afternoon.
func datagrams() (all [][]byte) {
	var b wire.Builder
	v4 := wire.IPv4Fields{TTL: 64, Src: a4, Dst: b4, ID: 7, DF: true}
	v6 := wire.IPv6Fields{HopLimit: 64, Src: a6, Dst: b6}
	both := func(build func()) {
		build()
		all = append(all, bytes.Clone(b.PushIPv4(v4).Bytes()))
		build()
		all = append(all, bytes.Clone(b.PushIPv6(v6).Bytes()))
	}
	text := []byte("GET /index.html HTTP/1.1\r\nHost: example.org\r\n\r\n")
	for _, c := range []struct {
		flags    wire.TCPFlags
		seq, ack uint32
		n        int
		back     bool
	}{
		{wire.TCPSyn, 1000, 0, 0, false}, {wire.TCPSyn | wire.TCPAck, 5000, 1001, 0, true}, {wire.TCPAck, 1001, 5001, 0, false},
		{wire.TCPAck | wire.TCPPsh, 1001, 5001, len(text), false}, {wire.TCPAck, 5001, 1001 + uint32(len(text)), 0, true},
		{wire.TCPFin | wire.TCPAck, 5001, 1048, 0, true}, {wire.TCPRst, 1048, 0, 0, false},
	} {
		both(func() {
			f := wire.TCPFields{SrcPort: 40000, DstPort: 80, Seq: c.seq, Ack: c.ack, Flags: c.flags, Window: 502}
			if c.back {
				f.SrcPort, f.DstPort = f.DstPort, f.SrcPort
			}
			b.Payload(text[:c.n]).PushTCP(f, nil)
		})
	}
	both(func() { b.Payload(text).PushUDP(5000, 6000) })
	both(func() { b.Payload(make([]byte, 1400)).PushUDP(5000, 9) })
	both(func() {
		b.Payload([]byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01")).PushUDP(5000, 53)
	})
	all = append(all, bytes.Clone(b.Payload(text).PushICMPv4(8, 0, 0x00010002).PushIPv4(v4).Bytes()))
	all = append(all, bytes.Clone(b.Payload(text).PushICMPv6(128, 0, 0x00010002).PushIPv6(v6).Bytes()))
	v4.MF, v4.DF = true, false
	both(func() { b.Payload(text).PushUDP(5000, 6000) })
	return all
}

// frames are the datagrams on Ethernet, some with tags, and frames without IP.
func frames() (all [][]byte) {
	var b wire.Builder
	for i, d := range datagrams() {
		typ := wire.EtherTypeIPv4
		if d[0]>>4 == 6 {
			typ = wire.EtherTypeIPv6
		}
		b.Payload(d)
		b.SetType(typ)
		if i%5 == 4 {
			b.PushVLAN(3, false, 42)
		}
		all = append(all, bytes.Clone(b.PushEthernet(macB, macA).Bytes()))
	}
	all = append(all, bytes.Clone(b.Payload(make([]byte, 18)).PushARP(1, macA, a4, wire.MAC{}, b4).PushEthernet(wire.Broadcast, macA).Bytes()))
	all = append(all, bytes.Clone(b.Payload(make([]byte, 18)).PushARP(2, macB, b4, macA, a4).PushEthernet(macA, macB).Bytes()))
	return append(all, []byte("\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01\x12\x34abcdefghijklmnopqrstuvwxyz"))
}

// cooked are the datagrams behind a header of Linux's second kind.
func cooked() (all [][]byte) {
	for _, d := range datagrams() {
		h := []byte{8, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0, 1, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0}
		if d[0]>>4 == 6 {
			h[0], h[1] = 0x86, 0xdd
		}
		all = append(all, append(h, d...))
	}
	return all
}

// makeFiles makes the files that are read, in the directory.
func makeFiles(t *testing.T, dir string) {
	t.Helper()
	write := func(name string, pkts [][]byte, snap int, h savefile.Header) []byte {
		t.Helper()
		f, err := savefile.Create(filepath.Join(dir, name), h)
		at := time.Unix(1700000000, 123456789)
		for _, p := range pkts {
			at = at.Add(1234567890 * time.Nanosecond)
			if err == nil {
				err = f.WritePacket(at, p[:min(len(p), snap)], len(p))
			}
		}
		b := []byte(nil)
		if err == nil {
			if err = f.Close(); err == nil {
				b, err = os.ReadFile(f.Name())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const all = 1 << 16
	b := write("eth.pcap", frames(), all, savefile.Header{Link: wire.LinkEthernet, Micro: true})
	write("nano.pcap", frames(), all, savefile.Header{Link: wire.LinkEthernet, Snaplen: 65535})
	write("big.pcap", frames(), all, savefile.Header{Link: wire.LinkEthernet, Micro: true, Order: binary.BigEndian})
	write("cut.pcap", frames(), 60, savefile.Header{Link: wire.LinkEthernet, Micro: true, Snaplen: 60})
	write("raw.pcap", datagrams(), all, savefile.Header{Link: wire.LinkRaw, Micro: true})
	write("sll2.pcap", cooked(), all, savefile.Header{Link: 276, Micro: true})
	write("none.pcap", nil, all, savefile.Header{Link: wire.LinkEthernet, Micro: true})
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	w.Close()
	for name, b := range map[string][]byte{
		"short.pcap": b[:len(b)-5], "text.pcap": []byte("no capture at all, only text"), "empty.pcap": nil,
		"eth.pcap.gz": z.Bytes(), "list": []byte("eth.pcap\nnano.pcap\n"), "expr": []byte("udp # or tcp\nport 53\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	f, err := savefile.CreatePcapng(filepath.Join(dir, "eth.pcapng"), savefile.Section{Application: "test"})
	if err == nil {
		_, err = f.AddInterface(savefile.Interface{Name: "eth0", Link: wire.LinkEthernet})
	}
	for i, p := range frames() {
		if err == nil {
			err = f.WritePacket(savefile.Packet{Time: time.Unix(1700000000+int64(i), 987654321), Data: p, Length: len(p)})
		}
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A result is what a command line did.
type result struct {
	stdout, stderr string
	status         int
	files          map[string]string // new ones
}

// ours runs a command line in this process.
func ours(t *testing.T, stdin string, args ...string) result {
	var out, errs bytes.Buffer
	status := tcpdump.Main(t.Context(), args, &tcpdump.Env{
		Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, Location: time.UTC,
	})
	return result{stdout: out.String(), stderr: errs.String(), status: status}
}

// theirs runs the real tcpdump.
func theirs(t *testing.T, stdin string, args ...string) result {
	if os.Getuid() == 0 {
		args = append([]string{"-Z", "root"}, args...) // others may not write here
	}
	c := exec.Command("tcpdump", args...)
	c.Env = append(os.Environ(), "TZ=UTC")
	c.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout: out.String(), stderr: errs.String(), status: c.ProcessState.ExitCode()}
}

// in runs f in a directory with the files, and notes those that it makes.
func in(t *testing.T, f func() result) result {
	t.Helper()
	dir := t.TempDir()
	makeFiles(t, dir)
	if strings.Contains(t.Name(), "long.pcap") {
		// As eth.pcap, 600 times.
		b, err := os.ReadFile(filepath.Join(dir, "eth.pcap"))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "long.pcap"), append(b[:24:24], bytes.Repeat(b[24:], 600)...), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	before := list(t, dir)
	t.Chdir(dir)
	r := f()
	r.files = list(t, dir)
	for name := range before {
		delete(r.files, name)
	}
	return r
}

func list(t *testing.T, dir string) map[string]string {
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(b)
	}
	return all
}

// same are command lines that do the same as the real tcpdump's.
var same = []string{
	"-n -r eth.pcap", "-nr nano.pcap", "-nr big.pcap", "-nr cut.pcap", "-nr raw.pcap", "-nr none.pcap", "-nr eth.pcapng",
	"-r eth.pcap host 127.0.0.1 and udp", "-e -r eth.pcap src 127.0.0.1 and icmp", "-N -r eth.pcap src 127.0.0.1 and icmp", "-nn -r eth.pcap arp",
	"-ner eth.pcap", "-nqr eth.pcap", "-nvr eth.pcap", "-nvvr eth.pcap", "-nvvver eth.pcap", "-nAr eth.pcap", "-nAAr eth.pcap",
	"-nxr eth.pcap", "-nxxr eth.pcap", "-nXr eth.pcap", "-nXXr eth.pcap", "-nXXxAr eth.pcap", "-nxXxr eth.pcap",
	"-ntr eth.pcap", "-nttr eth.pcap", "-ntttr eth.pcap", "-nttttr eth.pcap", "-ntttttr eth.pcap", "-nttttttr eth.pcap",
	"-nSr eth.pcap tcp", "-nKvr eth.pcap", "-n#r eth.pcap", "-n --number -r eth.pcap", "-lnr eth.pcap", "-Unr eth.pcap", "-pnr eth.pcap",
	"-n --nano -r nano.pcap", "-n --micro -r nano.pcap", "-n --nano -r eth.pcap", "-n --time-stamp-precision=nano -tttr nano.pcap",
	"-n --time-stamp-precision nano -ttr nano.pcap", "-n --time-stamp-precision=pico -ttr nano.pcap", "-n --nano --micro -r nano.pcap",
	"-nr eth.pcap -c 3", "-nc3 -r eth.pcap udp", "-nr eth.pcap -c 1000", "-nr eth.pcap -c 0", "-nr eth.pcap -c x",
	"-nr eth.pcap tcp port 80 and host 127.0.0.1", "-nr eth.pcap tcp port 80 -v", "-nOr eth.pcap vlan and udp", "-nr cut.pcap greater 100",
	"-nF expr -r eth.pcap", "-nF nothing -r eth.pcap", "-nr eth.pcap foo", "-nr eth.pcap port", "-nr eth.pcap -- -x", "-nr raw.pcap vlan",
	"--count -r eth.pcap", "--count -r eth.pcap tcp", "--count -r eth.pcap -c 1", "--count -nr none.pcap",
	"-nV list", "-nV nothing", "-nV empty.pcap", "-r eth.pcap -V list",
	"-nr nothing.pcap", "-nr text.pcap", "-nr empty.pcap", "-nr short.pcap", "-nr eth.pcap -Q in", "-nr eth.pcap -Q sideways",
	"-nr eth.pcap -s 40", "-nr eth.pcap -s 0", "-nr eth.pcap -s 262145", "-nr eth.pcap -s long", "-nr eth.pcap -y RAW", "-nr eth.pcap -y WIRE",
	"-nr eth.pcap -w out", "-nr nano.pcap -w out", "--nano -r nano.pcap -w out", "-r big.pcap -w out", "-r cut.pcap -w out tcp", "-r raw.pcap -w out",
	"-r sll2.pcap -w out", "-r none.pcap -w out", "-r eth.pcap -w out -c 3", "-r eth.pcap -w out -s 40", "-nr eth.pcap -w out --print -c 2",
	"-r eth.pcap -Uw out", "-r eth.pcap -w -", "-r eth.pcap -w /nowhere/out", "-r short.pcap -w out", "-r nano.pcap -w out --count", "-V list -w out",
	"-r eth.pcap -w out -C 1", "-r eth.pcap -w out -C 1 -W 3", "-r eth.pcap -w out -C 1 -W 11", "-r eth.pcap -w out -W 3", "-r eth.pcap -C 1 -n",
	"-r long.pcap -w out -C 1", "-r long.pcap -w out -C 1 -W 2", "-r long.pcap -w out -C 1 -W 11", "--count -r long.pcap",
	"-r eth.pcap -C 0 -w out", "-r eth.pcap -C x -w out", "-r eth.pcap -W 0 -w out", "-nr -", "-r", "-k", "--nothing", "--count=1", "--t", "--no",
	"-d -y NOSUCH", "-d -r nothing.pcap", "-nr eth.pcap -B 0", "-B x", "-nr eth.pcap --linktype FOO",
	"-L -y NOSUCH", "-nr eth.pcap --snap=x", "-nr eth.pcap --abs tcp",
}

var verbose = flag.Bool("same", false, "print both results of command lines that differ")

// TestAgainstTcpdump: the same command line on the same files does the same:
// standard output, files, status; and what standard error says of the files.
func TestAgainstTcpdump(t *testing.T) {
	testenv.NeedsTool(t, "tcpdump")
	if out, _ := exec.Command("tcpdump", "--version").CombinedOutput(); !bytes.HasPrefix(out, []byte("tcpdump version 4.99")) {
		t.Skipf("needs tcpdump 4.99, has %.40q", out)
	}
	stdin := ""
	in(t, func() (r result) {
		b, err := os.ReadFile("eth.pcap")
		if err != nil {
			t.Fatal(err)
		}
		stdin = string(b)
		return r
	})
	for _, line := range same {
		t.Run(strings.ReplaceAll(line, "/", "_"), func(t *testing.T) {
			args := strings.Fields(line)
			got := in(t, func() result { return ours(t, stdin, args...) })
			want := in(t, func() result { return theirs(t, stdin, args...) })
			compare(t, got, want)
		})
	}
}

func compare(t *testing.T, got, want result) {
	t.Helper()
	if got.status != want.status {
		t.Errorf("status %d, tcpdump's is %d", got.status, want.status)
	}
	if d := difference(got.stdout, want.stdout); d != "" {
		t.Errorf("standard output: %s", d)
	}
	// Interfaces of files are not given names of this system.
	want.stderr = strings.Replace(want.stderr, "Warning: interface names might be incorrect\n", "", 1)
	if want.status == 0 && got.stderr != want.stderr {
		t.Errorf("standard error %q, tcpdump's is %q", got.stderr, want.stderr)
	}
	if want.status != 0 && (got.stderr == "") != (want.stderr == "") {
		t.Errorf("standard error %q, tcpdump's is %q", got.stderr, want.stderr)
	}
	for _, name := range keys(got.files, want.files) {
		a, in1 := got.files[name]
		b, in2 := want.files[name]
		if in1 != in2 || a != b {
			t.Errorf("file %s: %d bytes (made %t), tcpdump's has %d (%t)", name, len(a), in1, len(b), in2)
		}
	}
	if t.Failed() && *verbose {
		t.Logf("ours\n%s%s\ntcpdump's\n%s%s", got.stderr, got.stdout, want.stderr, want.stdout)
	}
}

func keys(maps ...map[string]string) (all []string) {
	for _, m := range maps {
		for k := range m {
			all = append(all, k)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// difference tells the first line that is not the same.
func difference(got, want string) string {
	a, b := strings.SplitAfter(got, "\n"), strings.SplitAfter(want, "\n")
	for i := range max(len(a), len(b)) {
		x, y := "", ""
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("line %d is %.200q, tcpdump's is %.200q", i+1, x, y)
		}
	}
	return ""
}

// TestProgram: what -d prints is a program that decides as the packets printed
// tell.
func TestProgram(t *testing.T) {
	r := ours(t, "", "-y", "EN10MB", "-d", "ip")
	if want := "(000) ldh      [12]\n(001) jeq      #0x800           jt 2\tjf 3\n(002) ret      #262144\n(003) ret      #0\n"; r.stdout != want || r.stderr != "" || r.status != 0 {
		t.Errorf("-d: %+v", r)
	}
	if r = ours(t, "", "-dds", "96", "ip"); r.stdout != "{ 0x28, 0, 0, 0x0000000c },\n{ 0x15, 0, 1, 0x00000800 },\n{ 0x6, 0, 0, 0x00000060 },\n{ 0x6, 0, 0, 0x00000000 },\n" || r.stderr != "Warning: assuming Ethernet\n" {
		t.Errorf("-dd: %+v", r)
	}
	in(t, func() (r result) {
		for _, args := range [][]string{{"-d", "-r", "raw.pcap"}, {"-ddd", "-O", "-r", "raw.pcap"}} {
			if r = ours(t, "", append(args, "udp")...); r.status != 0 || !strings.Contains(r.stdout, "\n") {
				t.Errorf("%v: %+v", args, r)
			}
		}
		return r
	})
}

// TestMore: what tcpdump has not, or does otherwise.
func TestMore(t *testing.T) {
	for _, c := range []struct {
		args           string
		status         int
		stdout, stderr string // beginnings
	}{
		{"-ntc1 -r eth.pcap.gz", 0, "IP 127.0.0.1.40000 > 192.168.7.2.80: Flags [S]", "reading from file eth.pcap.gz, link-type EN10MB (Ethernet), snapshot length 262144\n"},
		{"-nV list -c 30 --count", 0, "30 packets\n", "reading from file eth.pcap,"},     // there, 30 of each file
		{"-ntc1 -r sll2.pcap", 0, "ifindex 8388607 Out IP 127.0.0.1.40000 >", "reading"}, // there, ?
		{"-ntc1 --lengths -r eth.pcap", 0, "caplen 54, len 54, IP 127.0.0.1.40000 >", "reading"},
		{"-T vxlan -r eth.pcap", 1, "", "tcpdump: option -T (reading packets as another protocol) is not supported\n"},
		{"-r nothing.pcap", 1, "", "tcpdump: nothing.pcap: no such file or directory\n"},
		{"-r text.pcap", 1, "", "tcpdump: text.pcap: savefile: not a pcap file: it begins with 6e 6f 20 63\n"},
		{"-r eth.pcap tcp prot 80", 1, "", "reading from file eth.pcap, link-type EN10MB (Ethernet), snapshot length 262144\ntcpdump: can't parse filter expression: column 5: "},
		{"-nr eth.pcap -F text.pcap", 1, "", "reading from file eth.pcap, link-type EN10MB (Ethernet), snapshot length 262144\ntcpdump: can't parse filter expression: column 18: "},
		{"-Z", 1, "", "tcpdump: option requires an argument -- 'Z'\ntcpdump of towpath"},
		{"-G 0 -w x -r eth.pcap", 1, "", "tcpdump: invalid number of seconds 0\n"},
		{"-G 1 -w - -r eth.pcap", 1, "", "tcpdump: -C and -G need a file for -w, not standard output\n"},
		{"-C 1 -z /nowhere/command -w out -r eth.pcap", 0, "", "reading"},
		{"-C 1k -z /nowhere/command -w out -r eth.pcap", 1, "", "reading from file eth.pcap, link-type EN10MB (Ethernet), snapshot length 262144\ntcpdump: -z: fork/exec /nowhere/command: no such file or directory\n"},
		{"--help", 0, "tcpdump of towpath, after version 4.99\nUsage: ", ""},
		{"--version", 0, "tcpdump of towpath", ""},
	} {
		r := in(t, func() result { return ours(t, "", strings.Fields(c.args)...) })
		if r.status != c.status || !strings.HasPrefix(r.stdout, c.stdout) || !strings.HasPrefix(r.stderr, c.stderr) || r.stderr == "" && c.stderr != "" {
			t.Errorf("%s: status %d\n%q\n%q", c.args, r.status, r.stdout[:min(len(r.stdout), 200)], r.stderr)
		}
	}
}

// TestRotate: the names and the lengths of files.
func TestRotate(t *testing.T) {
	// The 25 packets of eth.pcap come every 1.23 s and make 5282 bytes.
	for _, c := range []struct{ args, want string }{
		{"-C 1k -w f", "f:1086 f1:1876 f2:1502 f3:890"},
		{"-C 1k -W 3 -w f", "f0:890 f1:1876 f2:1502"},
		{"-C 1k -W 11 -w f", "f00:1086 f01:1876 f02:1502 f03:890"},
		{"-G 10 -w f%H%M%S", "f221321:832 f221332:3608 f221343:890"},
		{"-G 10 -W 2 -w f%S", "f21:832 f32:3608"},
		{"-G 20 -C 1k -w f%S-", "f21-:1086 f21-1:1876 f42-:1502 f42-1:890"},
		{"-G 3600 -w %Y-%m-%d_%j%%%q", "2023-11-14_318%%q:5282"},
		{"-G 3600 -w none -c 1 icmp6 and vlan", "none:24"},
		{"-w f -c 2 udp", "f:1607"},
	} {
		r := in(t, func() result { return ours(t, "", append(strings.Fields(c.args), "-r", "eth.pcap")...) })
		var got []string
		for _, name := range keys(r.files) {
			got = append(got, fmt.Sprintf("%s:%d", name, len(r.files[name])))
		}
		if s := strings.Join(got, " "); s != c.want || r.status != 0 {
			t.Errorf("%s: status %d, files %s, want %s\n%s", c.args, r.status, s, c.want, r.stderr)
		}
	}
}

// TestCommand: -z is run for each file that another one follows.
func TestCommand(t *testing.T) {
	testenv.NeedsTool(t, "gzip")
	r := in(t, func() result { return ours(t, "", "-r", "eth.pcap", "-w", "f", "-C", "1k", "-z", "gzip") })
	if got := strings.Join(keys(r.files), " "); got != "f.gz f1.gz f2.gz f3" || r.status != 0 {
		t.Errorf("status %d, files %s\n%s", r.status, got, r.stderr)
	}
}
