package towpath_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link/cable"
)

// Two hosts in this process, a cable between them, and net/http over it.
func Example() {
	alice, bob := host.New(host.Config{Name: "alice"}), host.New(host.Config{Name: "bob"})
	defer alice.Close(context.Background())
	defer bob.Close(context.Background())
	a, b := cable.New(cable.Config{})
	alice.AddAdapter("eth0", a)
	bob.AddAdapter("eth0", b)
	alice.AddAddress("eth0", netip.MustParsePrefix("10.0.0.1/24"))
	bob.AddAddress("eth0", netip.MustParsePrefix("10.0.0.2/24"))

	l, err := bob.Listen("tcp", ":80")
	if err != nil {
		panic(err)
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") }))

	client := http.Client{Transport: &http.Transport{DialContext: alice.DialContext}}
	resp, err := client.Get("http://10.0.0.2/")
	if err != nil {
		panic(err)
	}
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	resp.Body.Close()
	client.CloseIdleConnections()
	// Output: hello <nil>
}
