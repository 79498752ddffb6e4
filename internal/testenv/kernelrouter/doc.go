// Package kernelrouter makes a router of this machine's kernel, between two
// networks whose packets a test writes and reads: the other implementation to
// which the firewall is compared.
//
//	testenv.InNamespace(t, func(t *testing.T) {
//		r := kernelrouter.New(t, "table ip x { … }")
//		out := r.Pass(0, packet) // in at network 0; what comes out at 1
//	})
package kernelrouter
