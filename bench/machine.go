package bench

import "time"

// usage of the machine's processors since it started; zero where unknown.
type usage struct{ busy, all time.Duration }

// Busy is the share of the machine's processors that is used over the next d.
func Busy(d time.Duration) float64 {
	begin := processors()
	time.Sleep(d)
	end := processors()
	if end.all == begin.all {
		return 0
	}
	return (end.busy - begin.busy).Seconds() / (end.all - begin.all).Seconds()
}
