package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/towpath/towpath/service"
	"github.com/towpath/towpath/tool"
)

// A task is a program or service that goes on while others run, and can be
// stopped by its name.
type task struct {
	node *Node
	name string // the first word of its command
	stop func() error
}

// addTask makes a task known. The function returned makes it forgotten.
func (n *Net) addTask(node *Node, name string, stop func() error) (done func()) {
	t := &task{node, name, stop}
	n.mu.Lock()
	n.tasks = append(n.tasks, t)
	n.mu.Unlock()
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.tasks = slices.DeleteFunc(n.tasks, func(x *task) bool { return x == t })
	}
}

// take takes the tasks that are wanted off the list, the last ones first.
func (n *Net) take(want func(*task) bool) (some []*task) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range slices.Backward(n.tasks) {
		if want(t) {
			some = append(some, t)
		}
	}
	n.tasks = slices.DeleteFunc(n.tasks, want)
	return some
}

// stopTask stops what is called so on a node.
func (n *Net) stopTask(node *Node, name string) error {
	some := n.take(func(t *task) bool { return t.node == node && t.name == name })
	if len(some) == 0 {
		return fmt.Errorf("nothing called %q runs on %s", name, node.Name)
	}
	var errs []error
	for _, t := range some {
		errs = append(errs, t.stop())
	}
	return errors.Join(errs...)
}

// stopTasks stops all of a node's.
func (n *Net) stopTasks(node *Node) {
	for _, t := range n.take(func(t *task) bool { return t.node == node }) {
		t.stop()
	}
}

// startTask starts a service of a host, or a program of any node. It does not
// wait until a program can be used.
func (n *Net) startTask(node *Node, c *Command) error {
	out := n.output.of(node.Name)
	if c.start != nil {
		h := n.Host(node.Name)
		if h == nil {
			return errCrashed(node)
		}
		s, err := c.start(&service.Env{Host: h, Log: out})
		if err == nil {
			n.addTask(node, c.Args[0], s.Close)
		}
		return err
	}
	if !n.enter() {
		return ErrClosed
	}
	ctx, cancel := context.WithCancel(n.stop)
	ended := make(chan struct{})
	done := n.addTask(node, c.Args[0], func() error { cancel(); <-ended; return nil })
	n.output.printf(node.Name, "$ %s", c.Text)
	go func() {
		defer n.programs.Done()
		defer cancel()
		defer done()
		defer close(ended)
		err := n.execOn(ctx, node, &Exec{Args: c.Args, Dir: n.spec.Dir, Stdout: out, Stderr: out})
		out.Close()
		var told tool.ExitStatus
		if err != nil && ctx.Err() == nil && !errors.As(err, &told) {
			n.output.printf(node.Name, "failed: %v", err)
		}
		n.note(KindCommand, node.Name, c.Text, err)
	}()
	return nil
}
