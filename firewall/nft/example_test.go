package nft_test

import (
	"fmt"
	"os"

	"github.com/towpath/towpath/firewall/nft"
)

// A file of rules, and what they say of a packet.
func ExampleExplain() {
	rules, err := nft.Read("gateway.nft", `
table ip gateway {
	chain prerouting {
		type nat hook prerouting priority dstnat
		ip daddr 203.0.113.1 tcp dport 8080 dnat to 10.1.0.2:80
	}
	chain forward {
		type filter hook forward priority filter; policy drop
		ip saddr 198.51.100.0/24 accept
		tcp dport 80 ct status dnat accept comment "the web server"
	}
}
`)
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := nft.ParseProbe("tcp 192.0.2.9:4000 > 203.0.113.1:8080 syn in eth1 out eth0")
	if err != nil {
		fmt.Println(err)
		return
	}
	e, err := nft.Explain(rules, p, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	e.Print(os.Stdout)
	// Output:
	// tcp 192.0.2.9:4000 > 203.0.113.1:8080 syn in eth1 out eth0
	// prerouting
	//   table ip gateway chain prerouting, nat, priority -100
	//     gateway.nft:5: ip daddr 203.0.113.1 tcp dport 8080 dnat to 10.1.0.2:80
	//       matches
	//     accept
	//   destination 203.0.113.1:8080 becomes 10.1.0.2:80
	// forward
	//   table ip gateway chain forward, filter, priority 0
	//     gateway.nft:9: ip saddr 198.51.100.0/24 accept
	//       no: ip saddr 198.51.100.0/24, but it is 192.0.2.9
	//     gateway.nft:10: tcp dport 80 ct status dnat accept comment "the web server"
	//       matches
	//     accept
	// accept
}
