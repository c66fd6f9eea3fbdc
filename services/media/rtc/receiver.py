import struct
from services.contracts.audio import PcmFrame
from services.runtime.opus import OpusDecoder
class Receiver:
    def __init__(self, level_id, payload_type):
        self.pt=payload_type; self.dec=OpusDecoder(); self.i=0; self.left=b""
    def push(self, rtp, *, now):
        b0,b1,seq,ts,ssrc=struct.unpack_from("!BBHII",rtp); off=12+4*(b0&15)
        if b0&16: off+=4+4*struct.unpack_from("!H",rtp,off+2)[0]
        pcm=self.left+self.dec.decode(rtp[off:]); out=[]
        while len(pcm)>=640:
            out.append(PcmFrame(self.i,pcm[:640])); pcm=pcm[640:]; self.i+=1
        self.left=pcm
        return out
    def tick(self,*,now): return []
    def close(self): pass
