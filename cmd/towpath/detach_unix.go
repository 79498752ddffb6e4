//go:build unix

package main

import "syscall"

// ownSession keeps a process out of reach of the terminal.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
