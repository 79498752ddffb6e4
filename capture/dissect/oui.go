package dissect

// ouis are the organizations whose station addresses tcpdump names, by the
// addresses' first three bytes.
var ouis = []name{
	{0x00000c, "Cisco"},
}
