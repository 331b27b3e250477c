"""Where the architectures were published: authors, title, year."""

ALEXNET = (
    'A. Krizhevsky, I. Sutskever, G. E. Hinton, "ImageNet Classification with Deep '
    'Convolutional Neural Networks", 2012'
)
VGG = (
    'K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image '
    'Recognition", 2015'
)
RESNET = 'K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2016'
YOLO = (
    'J. Redmon, S. Divvala, R. Girshick, A. Farhadi, "You Only Look Once: Unified, Real-Time '
    'Object Detection", 2016'
)
DENSENET = (
    'G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, "Densely Connected Convolutional '
    'Networks", 2017'
)
YOLO9000 = 'J. Redmon, A. Farhadi, "YOLO9000: Better, Faster, Stronger", 2017'
YOLOV3 = 'J. Redmon, A. Farhadi, "YOLOv3: An Incremental Improvement", 2018'
EFFICIENTNET = (
    'M. Tan, Q. V. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural '
    'Networks", 2019'
)
GAUSSIAN_YOLOV3 = (
    'J. Choi, D. Chun, H. Kim, H.-J. Lee, "Gaussian YOLOv3: An Accurate and Fast Object '
    'Detector Using Localization Uncertainty for Autonomous Driving", 2019'
)
CSPNET = (
    'C.-Y. Wang, H.-Y. M. Liao, Y.-H. Wu, P.-Y. Chen, J.-W. Hsieh, I.-H. Yeh, "CSPNet: A New '
    'Backbone that can Enhance Learning Capability of CNN", 2020'
)
YOLOV4 = (
    'A. Bochkovskiy, C.-Y. Wang, H.-Y. M. Liao, "YOLOv4: Optimal Speed and Accuracy of Object '
    'Detection", 2020'
)
SCALED_YOLOV4 = (
    'C.-Y. Wang, A. Bochkovskiy, H.-Y. M. Liao, "Scaled-YOLOv4: Scaling Cross Stage Partial '
    'Network", 2021'
)
YOLOV7 = (
    'C.-Y. Wang, A. Bochkovskiy, H.-Y. M. Liao, "YOLOv7: Trainable Bag-of-Freebies Sets New '
    'State-of-the-Art for Real-Time Object Detectors", 2023'
)

PJREDDIE = "pjreddie/darknet"
ALEXEYAB = "AlexeyAB/darknet"
