package fwtest_test

import (
	"strings"
	"testing"

	"github.com/towpath/towpath/firewall/nft/fwtest"
)

const gateway = `
table inet filter {
	set admins { type ipv4_addr; flags interval; elements = { 10.1.0.0/28 }; }
	chain services {
		tcp dport { 80, 443 } accept
		udp dport 53 accept
	}
	chain input {
		type filter hook input priority filter; policy drop;
		ct state vmap { established : accept, related : accept, invalid : drop }
		iifname "lo" accept
		ip saddr @admins tcp dport 22 accept comment "admins"
		icmp type echo-request limit rate 5/second accept
		meta l4proto tcp reject with tcp reset
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		iifname "eth0" oifname "eth1" jump services
		ip6 daddr fd00::/8 tcp dport 8000-8080 accept
		ip dscp ef accept
	}
}
`

func TestExpect(t *testing.T) {
	for _, c := range []struct{ packet, verdict string }{
		{"tcp 10.1.0.2:4000 > 10.1.0.1:22 syn in eth0", "accept"},
		{"tcp 10.1.0.99:4000 > 10.1.0.1:22 syn in eth0", "reject"},
		{"tcp 10.1.0.99:4000 > 10.1.0.1:22 ack established in eth0", "accept"},
		{"udp 10.1.0.99:4000 > 10.1.0.1:22 in eth0", "drop"},
		{"udp 10.1.0.99:4000 > 10.1.0.1:22 in lo", "accept"},
		{"icmp 10.1.0.99 > 10.1.0.1 echo-request in eth0", "accept"},
		{"icmp 10.1.0.99 > 10.1.0.1 echo-reply invalid in eth0", "drop"},
		{"tcp 10.1.0.2:4000 > 203.0.113.2:80 syn in eth0 out eth1", "accept"},
		{"tcp 10.1.0.2:4000 > 203.0.113.2:81 syn in eth0 out eth1", "drop"},
		{"tcp 10.1.0.2:4000 > 203.0.113.2:81 syn tos 0xb8 in eth0 out eth1", "accept"},
		{"tcp [fd00::2]:4000 > [fd00::1]:8080 syn in eth0 out eth1", "accept"},
		{"tcp [fd00::2]:4000 > [fd00::1]:8081 syn in eth0 out eth1", "drop"},
		{"udp 10.1.0.2:4000 > 203.0.113.2:53", "drop"},
	} {
		fwtest.Expect(t, gateway, c.packet, c.verdict)
	}
}

// An explanation names the condition at which each rule ended.
func TestExplain(t *testing.T) {
	var b strings.Builder
	fwtest.Explain(t, gateway, "tcp 10.1.0.2:4000 > 203.0.113.2:81 syn in eth0 out eth1").Print(&b)
	const want = `tcp 10.1.0.2:4000 > 203.0.113.2:81 syn in eth0 out eth1
forward
  table inet filter chain forward, filter, priority 0
    rules.nft:18: iifname "eth0" oifname "eth1" jump services
      matches
    services: rules.nft:5: tcp dport { 80, 443 } accept
      no: tcp dport { 80, 443 }, but it is 81
    services: rules.nft:6: udp dport 53 accept
      no: udp dport 53, but it is tcp
    rules.nft:19: ip6 daddr fd00::/8 tcp dport 8000-8080 accept
      no: ip6 daddr fd00::/8, but it is ipv4
    rules.nft:20: ip dscp ef accept
      no: ip dscp ef, but it is 0x00
    drop (policy)
drop: inet filter forward policy drop
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
