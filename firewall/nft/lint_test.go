package nft_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/towpath/towpath/firewall/nft"
)

// Rules of one chain, and what is found: which rule, counted from 1, what is said
// of it, and which rule is to blame, if one is.
func TestLint(t *testing.T) {
	for _, c := range []struct{ rules, want string }{
		{"tcp dport 22 accept\ntcp dport 80 accept", ""},
		{"accept\ntcp dport 80 drop", "2 it is never reached behind 1"},
		{"tcp dport 20-30 accept\ntcp dport 22 drop", "2 it is never reached 1"},
		{"tcp dport { 22, 80 } drop\ntcp dport 80 drop", "2 it is redundant 1"},
		{"tcp dport 22 drop\ntcp dport { 22, 80 } drop", ""},
		{"ip saddr 10.0.0.0/8 drop\nip saddr 10.1.0.0/16 tcp dport 22 accept", "2 it is never reached 1"},
		{"ip saddr 10.1.0.0/16 drop\nip saddr 10.0.0.0/8 accept", ""},
		{"meta l4proto tcp drop\ntcp dport 22 accept", "2 it is never reached 1"},
		{"meta nfproto ipv6 drop\nip6 saddr ::1 accept\nip saddr 10.0.0.1 accept", "2 it is never reached 1"},
		{"ct state established accept\nct state established tcp dport 22 drop", "2 it is never reached 1"},
		{"iifname \"eth*\" accept\niifname \"eth0\" drop\niifname \"en0\" drop", "2 it is never reached 1"},
		{"tcp dport 22 tcp dport 80 accept", "1 it never matches"},
		{"tcp dport 22 limit rate 5/second accept\ntcp dport 22 drop", ""},
		{"tcp dport 22 counter accept\ntcp dport 22 counter", "2 it is never reached 1"},
		{"tcp dport 22 continue\ntcp dport 22 drop", ""},
		{"meta mark 1 accept\nmeta mark set 1\nmeta mark 1 drop", ""},
		{"numgen random mod 2 0 accept\nnumgen random mod 2 0 drop", ""},
		{"tcp dport 22 jump other\ntcp dport 22 drop", ""},
		{"tcp dport != 22 accept\ntcp dport != 22 drop", "2 it is never reached 1"},
		{"tcp dport 22 return\ntcp dport 22 drop", "2 it is never reached 1"},
		{"tcp flags syn accept\ntcp flags syn,ack accept", ""},
	} {
		text := "table inet t {\nchain c { type filter hook input priority 0\n" + c.rules + "\n}\nchain other {\n}\n}\n"
		rs, err := nft.Read("r.nft", text)
		if err != nil {
			t.Errorf("%s: %v", c.rules, err)
			continue
		}
		var got []string
		for _, f := range rs.Lint() {
			if f.Rule == nil {
				continue
			}
			said, _, _ := strings.Cut(f.Msg, ":")
			s := fmt.Sprint(f.Pos.Line-2, " ", said)
			if f.By != nil {
				s += fmt.Sprint(" ", f.By.Pos.Line-2)
			}
			got = append(got, s)
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s\nfound %q, want %q", c.rules, s, c.want)
		}
	}
	rs, err := nft.Read("r.nft", "table inet t { chain alone { accept; }; }")
	if err != nil {
		t.Fatal(err)
	}
	if f := rs.Lint(); len(f) != 1 || f[0].String() != "r.nft:1:16: inet t alone: no rule leads to this chain" {
		t.Errorf("%v", f)
	}
}
