// Package service is what the services that run on a host, in this process,
// have in common: echo, http and the rest, each a package of its own.
//
//	start, err := http.Service.Parse([]string{"./site"}, service.Options{})
//	s, err := start(&service.Env{Host: h, Log: os.Stdout})
//	defer s.Close()
package service

import (
	"io"

	"github.com/towpath/towpath/host"
)

// Env is where a service runs.
type Env struct {
	Host *host.Host
	Log  io.Writer // one line for each thing served
}

// Options is what a service is told besides its arguments.
type Options struct {
	Dir  string // where relative paths begin; empty: the working directory
	Port int    // to listen on; 0: the usual one
}

// A Service is a server for hosts.
type Service struct {
	Name  string
	Usage string // one line, beginning with the name
	Short string // what it does, in one sentence
	// Parse reads arguments and makes sure that files are there. Its errors
	// say what is wrong, without the service's name and usage.
	Parse func(args []string, o Options) (Start, error)
}

// A Start starts a service. When it returns the service can be used.
type Start func(e *Env) (Running, error)

// Running is a service that has been started.
type Running interface {
	// Addr is where it listens, for people: "tcp port 80".
	Addr() string
	// Close ends it and returns when nothing of it runs any more.
	Close() error
}
