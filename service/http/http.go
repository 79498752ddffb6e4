// Package http is the service that serves the files of a directory over HTTP,
// on port 80: http DIR.
package http

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/towpath/towpath/service"
)

const portUsual = 80

// Service is http.
var Service = service.Service{
	Name:  "http",
	Usage: "http DIR",
	Short: "serves the files of a directory",
	Parse: parse,
}

func parse(args []string, o service.Options) (service.Start, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("one directory is wanted, there are %d", len(args))
	}
	dir := args[0]
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(o.Dir, dir)
	}
	fi, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, fmt.Errorf("there is no directory %s", args[0])
	case !fi.IsDir():
		return nil, fmt.Errorf("%s is not a directory", args[0])
	}
	if o.Port == 0 {
		o.Port = portUsual
	}
	return func(e *service.Env) (service.Running, error) { return start(e, dir, o.Port) }, nil
}

type server struct {
	http    http.Server
	root    *os.Root
	port    int
	running sync.WaitGroup
}

func start(e *service.Env, dir string, port int) (*server, error) {
	root, err := os.OpenRoot(dir) // what links lead out of it to is not served
	if err != nil {
		return nil, err
	}
	l, err := e.Host.Listen("tcp", net.JoinHostPort("", strconv.Itoa(port)))
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	s := &server{root: root, port: port}
	s.http.Handler = logged(e.Log, http.FileServerFS(root.FS()))
	s.http.ReadHeaderTimeout = 10 * time.Second
	s.http.ConnState = s.count
	s.running.Go(func() { s.http.Serve(l) })
	return s, nil
}

// count counts connections, whose goroutines net/http does not wait for. New
// ones are announced by Serve, which is counted itself.
func (s *server) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.running.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.running.Done()
	}
}

func (s *server) Addr() string { return fmt.Sprintf("tcp port %d", s.port) }

func (s *server) Close() error {
	err := s.http.Close()
	s.running.Wait()
	return errors.Join(err, s.root.Close())
}

// logged writes a line for each request.
func logged(log io.Writer, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &answer{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(a, r)
		fmt.Fprintf(log, "http: %s %s %q %d, %d bytes\n", r.RemoteAddr, r.Method, r.URL.Path, a.status, a.n)
	})
}

// An answer remembers what was answered.
type answer struct {
	http.ResponseWriter
	status int
	n      int64
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	n, err := a.ResponseWriter.Write(b)
	a.n += int64(n)
	return n, err
}

// ReadFrom keeps the fast way of the ResponseWriter, whose buffers a file is
// copied through.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(a.ResponseWriter, r)
	a.n += n
	return n, err
}
