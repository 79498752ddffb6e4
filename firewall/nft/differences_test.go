package nft_test

// differences are rules about which the real nft is known to say something
// else, each with the reason. They are listed in the README.
var differences = map[string]string{
	"rt0 addr[1] ::1":                           "routing header",
	"igmp group 224.0.0.1":                      "an address, not a number",
	"ip option lsrr addr 1.2.3.4":               "an address, not a number",
	"ip protocol tcp ip saddr 1.2.3.4 ip ttl 3": "where joined fields stand",
	"@th,20,4 3":                                "raw bits that are no bytes",
	"vlan type ip":                              "the tag is not made visible",
	"@nh,96,32 { 0x01020304, 5 }":               "addresses look like addresses",
}
