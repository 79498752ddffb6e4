package host_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link/cable"
)

// A listener on port 60000 of the loopback interface.
func ExampleHost_Listen() {
	h := host.New(host.Config{Name: "h"})
	defer h.Close(context.Background())

	l, err := h.Listen("tcp", "127.0.0.1:60000")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	fmt.Println("listening on", l.Addr())
	// Output: listening on 127.0.0.1:60000
}

// A server that accepts a connection and prints who its peer is.
func ExampleTCPListener_Accept() {
	h := host.New(host.Config{Name: "h"})
	defer h.Close(context.Background())
	l, _ := h.Listen("tcp", "127.0.0.1:60000")

	go func() {
		c, err := h.Dial("tcp", "127.0.0.1:60000")
		if err == nil {
			c.Close()
		}
	}()

	c, err := l.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	peer := c.RemoteAddr().(*net.TCPAddr)
	fmt.Println("connected to", peer.IP, "from a port above 1023:", peer.Port > 1023)
	// Output: connected to 127.0.0.1 from a port above 1023: true
}

// A datagram with a message to port 60001, and who receives it.
func ExampleUDPConn_WriteTo() {
	h := host.New(host.Config{Name: "h"})
	defer h.Close(context.Background())
	receiver, _ := h.ListenPacket("udp", "127.0.0.1:60001")

	sender, _ := h.ListenPacket("udp", "127.0.0.1:0")
	sender.WriteTo([]byte("kernelsocket\n"), receiver.LocalAddr())

	buf := make([]byte, 100)
	n, _, err := receiver.ReadFrom(buf)
	fmt.Printf("%s%v\n", buf[:n], err)
	// Output:
	// kernelsocket
	// <nil>
}

// An echo server on one host and its client on another.
func ExampleHost_Dial() {
	server, client := host.New(host.Config{Name: "server"}), host.New(host.Config{Name: "client"})
	defer server.Close(context.Background())
	defer client.Close(context.Background())
	a, b := cable.New(cable.Config{})
	server.AddAdapter("eth0", a)
	client.AddAdapter("eth0", b)
	server.AddAddress("eth0", netip.MustParsePrefix("10.0.0.1/24"))
	client.AddAddress("eth0", netip.MustParsePrefix("10.0.0.2/24"))
	client.AddName("server", netip.MustParseAddr("10.0.0.1"))

	l, _ := server.Listen("tcp", ":7")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()

	c, err := client.Dial("tcp", "server:7")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Fprintln(c, "hello")
	line, err := bufio.NewReader(c).ReadString('\n')
	fmt.Println(strings.TrimSpace(line), err)
	// Output: hello <nil>
}
