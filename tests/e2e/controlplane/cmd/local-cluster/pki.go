package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// A demo cluster may be kept for months; nothing but this machine trusts these certificates.
const certificateLife = 365 * 24 * time.Hour

// A machine's clock may be set back a little between two starts.
const clockSlack = time.Hour

// pki is the cluster's one certificate authority and the folder all files are written to.
type pki struct {
	dir    string
	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	caPEM  []byte
	serial int64
}

// pair is a certificate with its key, as PEM and as files.
type pair struct {
	certFile, keyFile string
	cert, key         []byte
}

// newPKI makes a fresh authority and the key that signs service account tokens.
func newPKI(dir string) (*pki, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	// The serial starts at the time, for two authorities with one name must not repeat a number.
	p := &pki{dir: dir, caKey: key, serial: time.Now().UnixNano()}
	template := p.template("local-cluster-ca", nil)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if p.ca, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	p.caPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return p, os.WriteFile(p.path("ca.crt"), p.caPEM, 0o644)
}

func (p *pki) path(name string) string { return filepath.Join(p.dir, name) }

func (p *pki) template(name string, organisations []string) *x509.Certificate {
	p.serial++
	return &x509.Certificate{
		SerialNumber: big.NewInt(p.serial),
		Subject:      pkix.Name{CommonName: name, Organization: organisations},
		NotBefore:    time.Now().Add(-clockSlack),
		NotAfter:     time.Now().Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

// server makes a serving certificate for names and addresses.
func (p *pki) server(file string, names []string, addresses ...string) (*pair, error) {
	template := p.template(file, nil)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.DNSNames = names
	for _, address := range addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	return p.issue(file, template)
}

// client makes a certificate that logs in as user, member of groups.
func (p *pki) client(file, user string, groups ...string) (*pair, error) {
	template := p.template(user, groups)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return p.issue(file, template)
}

func (p *pki) issue(file string, template *x509.Certificate) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, p.ca, key.Public(), p.caKey)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", file, err)
	}
	result := &pair{certFile: p.path(file + ".crt"), keyFile: p.path(file + ".key")}
	result.cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if result.key, err = writeKey(result.keyFile, key); err != nil {
		return nil, err
	}
	return result, os.WriteFile(result.certFile, result.cert, 0o644)
}

// signingKey makes the key pair for service account tokens, or keeps the one of an earlier start:
// tokens outlive a restart as the objects in etcd do.
func (p *pki) signingKey() (private, public string, err error) {
	private, public = p.path("service-accounts.key"), p.path("service-accounts.pub")
	if _, err := os.Stat(public); err == nil {
		return private, public, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	if _, err := writeKey(private, key); err != nil {
		return "", "", err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", "", err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return private, public, os.WriteFile(public, block, 0o644)
}

func writeKey(file string, key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	return block, os.WriteFile(file, block, 0o600)
}

// kubeconfig writes a kubeconfig, complete in itself, that logs in with a client certificate.
func (p *pki) kubeconfig(file, server string, login *pair) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["local"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: p.caPEM}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{
		ClientCertificateData: login.cert,
		ClientKeyData:         login.key,
	}
	config.Contexts["local"] = &clientcmdapi.Context{Cluster: "local", AuthInfo: "admin"}
	config.CurrentContext = "local"
	return clientcmd.WriteToFile(*config, file)
}
