import numpy as np, tensorlib as tl, time
n=np.zeros(8,np.float32)
f=tl.asarray
for i in range(8000000): f(n)
