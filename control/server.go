package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/towpath/towpath/lab"
)

// Schema is the version of the objects.
const Schema = 1

const (
	bodyMax    = 1 << 20
	headerTime = 5 * time.Second
	closeMax   = 2 * time.Second
)

// Options shape a [Server].
type Options struct {
	// Down is called once when somebody wants the lab to be taken down.
	Down func()
}

// A Server answers for one lab.
type Server struct {
	net  *lab.Net
	spec *lab.Spec
	name string
	info Info
	down func()

	listener net.Listener
	http     *http.Server
	stop     context.Context
	stopNow  context.CancelFunc
	busy     sync.WaitGroup // connections that were taken over
}

// Info says which lab a socket is of.
type Info struct {
	Schema  int       `json:"schema"`
	Name    string    `json:"name"` // of the socket: the lab's, or one with a number
	Lab     string    `json:"lab"`
	File    string    `json:"file"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
}

// Listen opens a socket for a lab and answers there until Close.
func Listen(n *lab.Net, o Options) (*Server, error) {
	spec := n.Spec()
	l, name, err := listen(fileName(spec.Name))
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	s := &Server{net: n, spec: spec, name: name, listener: l, down: sync.OnceFunc(o.Down)}
	s.info = Info{Schema, name, spec.Name, spec.File, os.Getpid(), time.Now()}
	s.stop, s.stopNow = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: headerTime, MaxHeaderBytes: bodyMax,
		BaseContext: func(net.Listener) context.Context { return s.stop },
		ErrorLog:    log.New(io.Discard, "", 0),
	}
	s.busy.Go(func() { s.http.Serve(l) })
	return s, nil
}

// Name is what the lab is called among those that are up.
func (s *Server) Name() string { return s.name }

// Close ends what goes on, and removes the socket.
func (s *Server) Close() error {
	s.stopNow()
	ctx, cancel := context.WithTimeout(context.Background(), closeMax)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	s.busy.Wait()
	return err
}

func (s *Server) handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /v1", s.getInfo)
	m.HandleFunc("GET /v1/lab", s.getLab)
	m.HandleFunc("GET /v1/nodes", s.getNodes)
	m.HandleFunc("GET /v1/nodes/{node}", s.getNode)
	m.HandleFunc("GET /v1/links", s.getLinks)
	m.HandleFunc("GET /v1/links/{end}", s.getLink)
	m.HandleFunc("GET /v1/links/{end}/capture", s.getCapture)
	m.HandleFunc("GET /v1/switches", s.getSwitches)
	m.HandleFunc("GET /v1/switches/{switch}", s.getSwitch)
	m.HandleFunc("GET /v1/switches/{switch}/stations", s.getStations)
	m.HandleFunc("GET /v1/events", s.getEvents)
	m.HandleFunc("POST /v1/actions", s.postAction)
	m.HandleFunc("POST /v1/down", s.postDown)
	m.HandleFunc("POST /v1/exec", s.postExec)
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, fmt.Errorf("there is nothing at %s for %s; see the paths of package control", r.URL.Path, r.Method))
	})
	return m
}

// failure is what is said of a request that cannot be served.
type failure struct {
	Error string `json:"error"`
}

func fail(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(failure{err.Error()})
}

// wantsText reports whether a request wants text for people.
func wantsText(r *http.Request) bool {
	return r.URL.Query().Has("text") || strings.HasPrefix(r.Header.Get("Accept"), "text/plain")
}

// answer sends an object, as JSON or as text.
func answer(w http.ResponseWriter, r *http.Request, v any, text func(w io.Writer)) {
	if !wantsText(r) {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		e.Encode(v)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	text(t)
	t.Flush()
}

func (s *Server) getInfo(w http.ResponseWriter, r *http.Request) {
	answer(w, r, s.info, func(w io.Writer) {
		fmt.Fprintf(w, "lab %s of %s, process %d, up for %v\n", s.info.Name, s.info.File, s.info.PID, time.Since(s.info.Started).Round(time.Second))
	})
}

func (s *Server) getLab(w http.ResponseWriter, r *http.Request) {
	answer(w, r, s.net.Document(nil), func(w io.Writer) {
		sum := s.net.Summary()
		s.spec.Describe(w)
		fmt.Fprintln(w)
		sum.Print(w)
		lab.PrintOutcomes(w, sum.Outcomes)
	})
}

func (s *Server) getNodes(w http.ResponseWriter, r *http.Request) {
	nodes := s.net.Document(nil).Nodes
	answer(w, r, nodes, func(w io.Writer) {
		for i := range nodes {
			nodeText(w, &nodes[i])
		}
	})
}

func (s *Server) getNode(w http.ResponseWriter, r *http.Request) {
	for _, n := range s.net.Document(nil).Nodes {
		if n.Name == r.PathValue("node") {
			answer(w, r, n, func(w io.Writer) { nodeText(w, &n) })
			return
		}
	}
	fail(w, http.StatusNotFound, fmt.Errorf("there is no node %q", r.PathValue("node")))
}

func nodeText(w io.Writer, n *lab.DocumentNode) {
	var has []string
	for _, i := range n.Interfaces {
		has = append(has, i.Name+" "+strings.Join(i.Addresses, " "))
	}
	fmt.Fprintf(w, "%s\t%s\t%s\tforwarded %d\tdropped %s\n", n.Name, n.Kind, strings.Join(has, ", "), n.Forwarded, dropText(n.Drops))
}

func dropText(drops map[string]uint64) string {
	var n uint64
	for _, c := range drops {
		n += c
	}
	return strconv.FormatUint(n, 10)
}

func (s *Server) getLinks(w http.ResponseWriter, r *http.Request) {
	links := s.net.Document(nil).Links
	answer(w, r, links, func(w io.Writer) {
		for i := range links {
			linkText(w, &links[i])
		}
	})
}

// link finds the link of a request; nil if it has been told that there is none.
func (s *Server) link(w http.ResponseWriter, r *http.Request) *lab.Link {
	l, _, err := s.spec.FindLink(r.PathValue("end"))
	if err != nil {
		fail(w, http.StatusNotFound, err)
		return nil
	}
	return l
}

func (s *Server) getLink(w http.ResponseWriter, r *http.Request) {
	l := s.link(w, r)
	if l == nil {
		return
	}
	for _, d := range s.net.Document(nil).Links {
		if d.Ends[0] == l.Ends[0].String() {
			answer(w, r, d, func(w io.Writer) { linkText(w, &d) })
		}
	}
}

func linkText(w io.Writer, l *lab.DocumentLink) {
	state := "up"
	if l.Down {
		state = "down"
	}
	fmt.Fprintf(w, "%s -- %s\t%s\tMTU %d\t-> %d\t<- %d\tdropped %s\t%s\n",
		l.Ends[0], l.Ends[1], state, l.MTU, l.Packets[0], l.Packets[1], dropText(l.Drops), strings.Join(l.Impair, " / "))
}

func (s *Server) getSwitches(w http.ResponseWriter, r *http.Request) {
	all := s.net.Document(nil).Switches
	if all == nil {
		all = []lab.DocumentSwitch{}
	}
	answer(w, r, all, func(w io.Writer) {
		for i := range all {
			switchText(w, &all[i])
		}
	})
}

func (s *Server) getSwitch(w http.ResponseWriter, r *http.Request) {
	for _, x := range s.net.Document(nil).Switches {
		if x.Name == r.PathValue("switch") {
			answer(w, r, x, func(w io.Writer) { switchText(w, &x) })
			return
		}
	}
	fail(w, http.StatusNotFound, fmt.Errorf("there is no switch %q", r.PathValue("switch")))
}

func switchText(w io.Writer, x *lab.DocumentSwitch) {
	fmt.Fprintf(w, "%s\tforwarded %d\tflooded %d\tstations %d\tdropped %s\n", x.Name, x.Forwarded, x.Flooded, x.Stations, dropText(x.Drops))
}

func (s *Server) getStations(w http.ResponseWriter, r *http.Request) {
	all, err := s.net.Stations(r.PathValue("switch"))
	if err != nil {
		fail(w, http.StatusNotFound, err)
		return
	}
	answer(w, r, all, func(w io.Writer) {
		for _, x := range all {
			fmt.Fprintf(w, "%s\t%s\tvlan %d\tage %.1f s\n", x.MAC, x.Port, x.VLAN, x.Age)
		}
	})
}

// getCapture sends the packets of a link until the client goes away.
func (s *Server) getCapture(w http.ResponseWriter, r *http.Request) {
	l := s.link(w, r)
	if l == nil {
		return
	}
	w.Header().Set("Content-Type", "application/x-pcapng")
	out := &flushWriter{w: w, c: http.NewResponseController(w)}
	if err := s.net.Capture(r.Context(), l, out); err != nil && !out.began {
		fail(w, http.StatusInternalServerError, err)
	}
}

// flushWriter sends what is written at once.
type flushWriter struct {
	w     io.Writer
	c     *http.ResponseController
	began bool
}

func (f *flushWriter) Write(b []byte) (int, error) {
	f.began = true
	n, err := f.w.Write(b)
	if err == nil {
		err = f.c.Flush()
	}
	return n, err
}

func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after, err := strconv.ParseUint(q.Get("after"), 10, 64)
	if err != nil && q.Has("after") {
		fail(w, http.StatusBadRequest, fmt.Errorf("after=%s is not a number of an event", q.Get("after")))
		return
	}
	text := wantsText(r)
	w.Header().Set("Content-Type", "application/x-ndjson")
	if text {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	c := http.NewResponseController(w)
	c.Flush()
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for ev := range s.net.Events(r.Context(), after, q.Has("follow")) {
		if q.Has("kind") && q.Get("kind") != ev.Kind || q.Has("node") && q.Get("node") != ev.Node {
			continue
		}
		if text {
			_, err = io.WriteString(w, ev.String()+"\n")
		} else {
			err = e.Encode(ev)
		}
		if err != nil || q.Has("follow") && c.Flush() != nil {
			return
		}
	}
}

// Do is the body of a POST to /v1/actions.
type Do struct {
	Do string `json:"do"`
}

func (s *Server) postAction(w http.ResponseWriter, r *http.Request) {
	var body Do
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyMax))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf(`the body is not {"do": ACTION}: %w`, err))
		return
	}
	a, err := s.spec.ParseAction(body.Do)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if err := s.net.Do(r.Context(), a); err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	answer(w, r, body, func(io.Writer) {})
}

func (s *Server) postDown(w http.ResponseWriter, r *http.Request) {
	answer(w, r, s.info, func(io.Writer) {})
	http.NewResponseController(w).Flush()
	s.down()
}

const upgrade = "towpath-exec"

// postExec takes the connection over and runs a program on it.
func (s *Server) postExec(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != upgrade {
		w.Header().Set("Upgrade", upgrade)
		fail(w, http.StatusUpgradeRequired, errors.New("a program needs the connection; write Upgrade: "+upgrade))
		return
	}
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	s.busy.Add(1)
	defer s.busy.Done()
	defer conn.Close()
	conn.SetDeadline(time.Time{})
	defer context.AfterFunc(s.stop, func() { conn.SetReadDeadline(time.Now()) })()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", upgrade)
	s.exec(conn, json.NewDecoder(&lineReader{r: buf.Reader}))
}

// exec runs a program for a client that sends its frames by d.
func (s *Server) exec(conn net.Conn, d *json.Decoder) {
	out := newFrames(conn)
	var first Frame
	if err := d.Decode(&first); err != nil {
		out.send(Frame{Error: "the first line does not say what is to be run"})
		return
	}
	ctx, cancel := context.WithCancel(s.stop)
	defer cancel()
	stdin, input := io.Pipe()
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		defer input.Close()
		for {
			var f Frame
			switch err := d.Decode(&f); {
			case err != nil || f.Stop:
				cancel()
				return
			case f.End:
				input.Close()
			case len(f.Stdin) > 0:
				input.Write(f.Stdin) // fails once nobody reads
			}
		}
	}()
	err := s.net.Exec(ctx, lab.Exec{
		Node: first.Node, Args: first.Args, Dir: first.Dir, Stdin: stdin,
		Stdout: writer{out, func(b []byte) Frame { return Frame{Stdout: b} }},
		Stderr: writer{out, func(b []byte) Frame { return Frame{Stderr: b} }},
	})
	stdin.Close()
	last := Frame{}
	if status := lab.ExitStatus(err); status >= 0 {
		last.Exit = &status
	} else {
		last.Error = err.Error()
	}
	out.send(last)
	conn.Close()
	<-fed
}
