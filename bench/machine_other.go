//go:build !linux

package bench

import "time"

func waited() time.Duration { return 0 }
func processors() usage     { return usage{} }
