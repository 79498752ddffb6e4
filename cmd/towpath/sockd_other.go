//go:build !linux

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// sockdCommand is for Linux only: its doors are.
func sockdCommand() *cobra.Command {
	return &cobra.Command{Use: "sockd", Hidden: true, RunE: func(*cobra.Command, []string) error {
		return &failed{errors.New("sockd needs Linux")}
	}}
}
