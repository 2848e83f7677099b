"""What tests share: throwaway certificates, real backends, other people's tools, a running spyhole."""
