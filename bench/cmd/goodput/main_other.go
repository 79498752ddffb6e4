//go:build !linux

// Command goodput needs Linux, whose TCP it compares with.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "goodput: only on Linux")
	os.Exit(1)
}
