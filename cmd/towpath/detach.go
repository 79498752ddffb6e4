package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/spf13/cobra"
)

// readyEnv is set in a process that brings a lab up in the background. It tells
// by its standard output, as one JSON object, when the lab is up or why not, and
// prints nothing else there.
const readyEnv = "TOWPATH_LAB_READY"

// readiness is who waits for a lab to be up. Nil: nobody.
type readiness struct {
	w    io.WriteCloser
	name string // of the lab
}

// isReady is what is told.
type isReady struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"`
}

func openReadiness() *readiness {
	if os.Getenv(readyEnv) == "" {
		return nil
	}
	os.Unsetenv(readyEnv) // programs do not have it
	return &readiness{w: os.Stdout}
}

// tell tells that the lab is up, or why it is not.
func (r *readiness) tell(why string) {
	if r != nil && r.w != nil {
		json.NewEncoder(r.w).Encode(isReady{r.name, why})
		r.w.Close()
		r.w = nil
	}
}

// end tells that it will not be.
func (r *readiness) end(err error) {
	if err == nil {
		err = errors.New("it has ended")
	}
	r.tell(err.Error())
}

// detach brings a lab up in a process of its own and returns when it is up.
func detach(c *cobra.Command, file string, o options) error {
	if _, err := load(c, file, false); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return &failed{err}
	}
	args := []string{"lab", "up", file}
	if o.captures != "" {
		args = append(args, "-w", o.captures)
	}
	if o.pcap {
		args = append(args, "--pcap")
	}
	p := exec.Command(self, args...)
	p.Env = append(os.Environ(), readyEnv+"=1")
	p.SysProcAttr = ownSession()
	out, err := p.StdoutPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		return &failed{err}
	}
	var r isReady
	if err := json.NewDecoder(out).Decode(&r); err != nil {
		r.Error = fmt.Sprintf("the process in the background has ended: %v", p.Wait())
	}
	if r.Error != "" {
		return &failed{errors.New(r.Error)}
	}
	fmt.Fprintf(c.OutOrStdout(), "lab %s is up, process %d; end it with: towpath lab down %s\n", r.Name, p.Process.Pid, r.Name)
	return nil
}
