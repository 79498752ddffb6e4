package nft_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/towpath/towpath/firewall/nft"
)

// settled lists rules, and reads and lists them once more: a set whose ranges
// became one is then the range, here as in nft.
func settled(rs *nft.Ruleset) (string, error) {
	again, err := nft.Read("listed.nft", rs.String())
	if err != nil {
		return "", err
	}
	return again.String(), nil
}

// What is listed reads back as the same.
func TestListReadsBack(t *testing.T) {
	for _, c := range readRules(t) {
		rs, err := nft.Read("rules.nft", c.text())
		if err != nil {
			continue // the comparison with the real one says whether it should
		}
		list, err := settled(rs)
		if err != nil {
			t.Errorf("%s: %s\nlisted as\n%sis not read back: %v", c.family, c.rule, rs, err)
			continue
		}
		if again, err := nft.Read("listed.nft", list); err != nil || again.String() != list {
			t.Errorf("%s: %s\nlisted as\n%sthen as\n%s%v", c.family, c.rule, list, again, err)
		}
	}
}

// Every mistake has its place, what is wrong and what to write.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"table inet t {\n\tchain c {\n\t\ttcp dprot 22\n\t}\n}\n", `f.nft:3:7: tcp has no field "dprot"; did you mean dport?`},
		{"table inet t {\n chain c {\n  type filter hook inptu priority 0;\n }\n}\n", `f.nft:3:20: "inptu" is not a hook; did you mean input?`},
		{"tabel inet t", `f.nft:1:1: "tabel" is not a command; did you mean table?`},
		{"table inet t { chain c { jump nowhere; }; }", `f.nft:1:26: table inet t has no chain "nowhere"`},
		{"table ip t { chain c { ip6 saddr ::1 drop; }; }", "f.nft:1:24: packets of family ip have no header ip6; write table inet for both"},
		{"table ip t { chain c { tcp dport 22 udp dport 53; }; }", "f.nft:1:37: tcp and udp are not in one packet; write two rules"},
		{"table ip t { chain c { tcp dport 70000; }; }", "f.nft:1:34: 70000 does not fit into 16 bits; write a number up to 65535"},
		{"table ip t { chain c { reject counter; }; }", "f.nft:1:31: the statement before \"counter\" ends the rule; write this one first"},
		{"table ip t { chain c { accept counter; }; }", "f.nft:1:31: the statement before \"counter\" ends the rule; write this one first"},
		{"table ip t { chain c { ip saddr $lan drop; }; }", "f.nft:1:33: $lan has not been defined; write define lan = … above"},
		{"define lan = 10.0.0.0/8\ntable ip t { chain c { ip saddr $lna drop; }; }", "f.nft:2:33: $lna has not been defined; did you mean $lan?"},
		{"table ip t { chain c { tcp dport 90-80; }; }", "f.nft:1:34: the range ends before it begins; write 80-90"},
		{"table ip t { chain c { ip saddr @nets; }; }", `f.nft:1:34: table ip t has no set or map "nets"; write it above`},
		{"table ip t { set s { type inet_service; }\n chain c { ip saddr @s; }; }", "f.nft:2:22: set s has elements of type inet_service, but the match is of type ipv4_addr"},
		{"table ip t { chain a { jump b; }\n chain b { jump a; }\n}", "f.nft:2:12: chain a comes back to itself"},
		{"table ip t { chain a { type nat hook input priority 0; masquerade; }; }", "f.nft:1:56: masquerade is done at postrouting, and chain a is at input"},
		{"table ip t { chain a { dnat to 1.2.3.4:80; }; }", "f.nft:1:24: a port needs to know the transport protocol; write a match such as meta l4proto tcp before it"},
		{"table ip t { chain a { log prefix \"x; }; }", `f.nft:1:35: the text that begins here does not end on its line; write a closing "`},
		{"table ip t { chain a { counter }\n}", `f.nft:1:32: the statement before "}" does not end; write ; or a new line`},
		{"add rule ip t c accept", "f.nft:1:1: there is no table ip t; write add table ip t before"},
		{"include \"nowhere.nft\"", `f.nft:1:9: there is no file "nowhere.nft", here, in . or in /etc`},
		{"define a = $a", "f.nft:1:12: $a has not been defined; write define a = … above"},
		{"table ip t { set s { type ipv4_adr; } ; }", `f.nft:1:27: there is no type "ipv4_adr"; did you mean ipv4_addr?`},
	} {
		_, err := nft.Read("f.nft", c.src)
		if err == nil {
			t.Errorf("%q is taken; want %s", c.src, c.want)
			continue
		}
		if first, _, _ := strings.Cut(err.Error(), "\n"); first != c.want && !strings.HasPrefix(first, c.want) {
			t.Errorf("%q:\n got %s\nwant %s", c.src, first, c.want)
		}
	}
}

// Commands change rules all at once or not at all.
func TestCommands(t *testing.T) {
	rs := new(nft.Ruleset)
	step := func(src, want string) {
		t.Helper()
		next, _, err := rs.Exec("f.nft", src)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		rs = next
		var b strings.Builder
		rs.Print(&b, nft.Options{Handles: true})
		got := b.String()
		if got = strings.Join(strings.Fields(got), " "); got != want {
			t.Errorf("%s:\n got %s\nwant %s", src, got, want)
		}
	}
	step("add table t\nadd chain t c\nadd rule t c tcp dport 1\nadd rule t c tcp dport 2",
		"table ip t { # handle 1 chain c { # handle 1 tcp dport 1 # handle 2 tcp dport 2 # handle 3 } }")
	step("insert rule t c tcp dport 3\nadd rule t c handle 2 tcp dport 4",
		"table ip t { # handle 1 chain c { # handle 1 tcp dport 3 # handle 4 tcp dport 1 # handle 2 tcp dport 4 # handle 5 tcp dport 2 # handle 3 } }")
	step("delete rule t c handle 2; replace rule t c handle 3 drop",
		"table ip t { # handle 1 chain c { # handle 1 tcp dport 3 # handle 4 tcp dport 4 # handle 5 drop # handle 6 } }")
	step("add set t s { type inet_service; }; add element t s { 5, 4 }; delete element t s { 5 }; flush chain t c; rename chain t c d",
		"table ip t { # handle 1 set s { # handle 7 type inet_service elements = { 4 } } chain d { # handle 1 } }")
	if _, _, err := rs.Exec("f.nft", "flush ruleset; delete table nowhere"); err == nil {
		t.Error("a table that is not there is deleted")
	}
	step("flush ruleset; table inet x { chain y { accept; }\n}", "table inet x { # handle 1 chain y { # handle 1 accept # handle 2 } }")
}

func TestDefinitionsAndFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/nets.nft", "define lan = { 10.0.0.0/8, 192.168.0.0/16 }\n")
	write(t, dir+"/main.nft", "include \"nets.nft\"\ndefine more = { $lan, 172.16.0.0/12 }\ntable ip t {\n\tchain c {\n\t\tip saddr $more ip daddr != $lan drop\n\t}\n}\n")
	s, err := nft.ReadFile(dir + "/main.nft")
	if err != nil {
		t.Fatal(err)
	}
	const want = "ip saddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } ip daddr != { 10.0.0.0/8, 192.168.0.0/16 } drop"
	if got := s.Tables[0].Chains[0].Rules[0].String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	write(t, dir+"/loop.nft", "include \"loop.nft\"\n")
	if _, err := nft.ReadFile(dir + "/loop.nft"); err == nil {
		t.Error("a file that includes itself is read")
	}
	bomb := "define a0 = 1, 2, 3, 4, 5, 6, 7, 8\n"
	for i := range 30 {

		bomb += "define a" + strconv.Itoa(i+1) + " = $a" + strconv.Itoa(i) + ", $a" + strconv.Itoa(i) + "\n"
	}
	if _, err := nft.Read("bomb.nft", bomb); err == nil {
		t.Error("definitions that double 30 times are read")
	}
}

func FuzzRead(f *testing.F) {
	for _, c := range readRules(f) {
		f.Add(c.text())
	}
	f.Add("define x = { 1, 2 }\nadd table t\nadd element t s { $x }\nlist ruleset")
	f.Fuzz(func(t *testing.T, src string) {
		if strings.Contains(src, "include") {
			return // no files of this machine
		}
		rs, err := nft.Read("f.nft", src)
		if err != nil {
			return
		}
		list, err := settled(rs)
		if err != nil {
			t.Fatalf("%q is listed as\n%swhich is not read back: %v", src, rs, err)
		}
		if again, err := nft.Read("listed.nft", list); err != nil || again.String() != list {
			t.Fatalf("%q is listed as\n%sand then as\n%s%v", src, list, again, err)
		}
	})
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
