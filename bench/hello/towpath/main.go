// Command towpath is the smallest useful program with a towpath host: one
// connection to itself, and a word through it.
package main

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/towpath/towpath/host"
)

func main() {
	h := host.New(host.Config{Name: "hello"})
	defer h.Close(context.Background())
	l, err := h.Listen("tcp", "127.0.0.1:7")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		io.WriteString(c, "hello")
		c.Close()
	}()
	c, err := h.Dial("tcp", "127.0.0.1:7")
	if err != nil {
		log.Fatal(err)
	}
	b, err := io.ReadAll(c)
	fmt.Println(string(b), err)
}
