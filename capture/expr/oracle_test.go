package expr

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/wire"
)

// oracleSource compiles with libpcap what it reads, line by line, without the
// library's header files.
const oracleSource = `
#include <stdio.h>
#include <string.h>
#include <time.h>
struct insn { unsigned short code; unsigned char jt, jf; unsigned k; };
struct prog { unsigned len; struct insn *insns; };
void *pcap_open_dead(int, int);
void pcap_close(void *);
int pcap_compile(void *, struct prog *, const char *, int, unsigned);
void pcap_freecode(struct prog *);
char *pcap_geterr(void *);
int main(void) {
	static char line[1 << 17];
	while (fgets(line, sizeof line, stdin)) {
		int link, optimize, n;
		line[strcspn(line, "\n")] = 0;
		sscanf(line, "%d %d %n", &link, &optimize, &n);
		void *p = pcap_open_dead(link, 262144);
		struct prog f;
		struct timespec a, b;
		clock_gettime(CLOCK_MONOTONIC, &a);
		int err = pcap_compile(p, &f, line + n, optimize, 0);
		clock_gettime(CLOCK_MONOTONIC, &b);
		if (err < 0) {
			printf("!%s\n", pcap_geterr(p));
		} else {
			printf("%ld", (b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec);
			for (unsigned i = 0; i < f.len; i++)
				printf(" %u %u %u %u", f.insns[i].code, f.insns[i].jt, f.insns[i].jf, f.insns[i].k);
			printf("\n");
			pcap_freecode(&f);
		}
		pcap_close(p);
		fflush(stdout);
	}
}
`

// dlt is the number that libpcap has for a link type within a program.
func dlt(l wire.LinkType) int {
	switch l {
	case ATM_RFC1483:
		return 11
	case RAW:
		return 12
	case SLIP_BSDOS:
		return 15
	case PPP_BSDOS:
		return 16
	case ATM_CLIP:
		return 19
	}
	return int(l)
}

// An oracle is libpcap, in a process of its own.
type oracle struct {
	in  io.WriteCloser
	out *bufio.Reader
	cmd *exec.Cmd
}

var (
	oracleOnce sync.Once
	oracleErr  error
	oracleFile string
)

// TestMain removes what the tests build.
func TestMain(m *testing.M) {
	code := m.Run()
	if oracleFile != "" {
		os.RemoveAll(filepath.Dir(oracleFile))
	}
	os.Exit(code)
}

// newOracle starts libpcap, or skips the test.
func newOracle(t testing.TB) *oracle {
	oracleOnce.Do(func() {
		var dir string
		if dir, oracleErr = os.MkdirTemp("", "expr"); oracleErr != nil {
			return
		}
		oracleFile = filepath.Join(dir, "oracle")
		src := oracleFile + ".c"
		if oracleErr = os.WriteFile(src, []byte(oracleSource), 0o600); oracleErr != nil {
			return
		}
		if out, err := exec.Command("gcc", "-O2", "-o", oracleFile, src, "-l:libpcap.so.0.8").CombinedOutput(); err != nil {
			oracleErr = fmt.Errorf("%v: %s", err, out)
		}
	})
	if oracleErr != nil {
		t.Skipf("no libpcap to compare with: %v", oracleErr)
	}
	o := &oracle{cmd: exec.Command(oracleFile)}
	o.in, _ = o.cmd.StdinPipe()
	r, _ := o.cmd.StdoutPipe()
	o.out = bufio.NewReaderSize(r, 1<<20)
	if err := o.cmd.Start(); err != nil {
		t.Skipf("no libpcap to compare with: %v", err)
	}
	t.Cleanup(func() {
		o.in.Close()
		_ = o.cmd.Wait()
	})
	return o
}

// compile returns libpcap's program and how long it took in nanoseconds.
func (o *oracle) compile(l wire.LinkType, expression string, optimize bool) (bpf.Program, int, error) {
	n := 0
	if optimize {
		n = 1
	}
	fmt.Fprintf(o.in, "%d %d %s\n", dlt(l), n, expression)
	s, err := o.out.ReadString('\n')
	if err != nil {
		return nil, 0, fmt.Errorf("libpcap: %w", err)
	}
	s = strings.TrimSuffix(s, "\n")
	if msg, bad := strings.CutPrefix(s, "!"); bad {
		return nil, 0, errors.New(msg)
	}
	f := strings.Fields(s)
	if len(f) == 0 {
		return nil, 0, fmt.Errorf("libpcap answers %q", s)
	}
	var prog bpf.Program
	num := func(s string) uint32 { v, _ := strconv.ParseUint(s, 10, 32); return uint32(v) }
	for i := 1; i+3 < len(f); i += 4 {
		prog = append(prog, bpf.Instruction{Op: uint16(num(f[i])), Jt: uint8(num(f[i+1])), Jf: uint8(num(f[i+2])), K: num(f[i+3])})
	}
	return prog, int(num(f[0])), nil
}
